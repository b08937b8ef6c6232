"""Instances of sequence design: design tasks, their loaders, generator and named sets."""
