"""Neural networks whose forward passes and train steps are programs, drawn from seeds."""
