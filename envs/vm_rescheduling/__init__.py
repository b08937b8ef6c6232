"""VM rescheduling: the environment after VMR2L (EuroSys 2025) and its independent validator."""
