"""Federated learning rates: network, lessons, and the agents as contenders."""
