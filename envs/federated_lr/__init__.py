"""Dynamics, observations, rewards and the validator of federated training."""
