"""Strategies of Flower whose learning rates a controller or agent of federated_lr sets."""
