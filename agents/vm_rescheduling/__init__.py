"""VM rescheduling: networks, compiled play, lessons, and the agents as contenders."""
