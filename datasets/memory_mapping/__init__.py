"""Instances of memory mapping: scheduled programs, their loaders, generator and named sets."""
