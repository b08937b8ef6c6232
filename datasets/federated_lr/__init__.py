"""Instances of federated_lr: federations, their loaders, generator and named sets."""
