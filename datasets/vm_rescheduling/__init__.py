"""VM rescheduling: cluster snapshots, their loaders, generators and splits."""
