"""Federations of Flower led by a controller or a trained agent of federated_lr."""
