"""Instances of VM rescheduling: cluster snapshots, their loaders, generator and named sets."""
