"""Logistic regression under a learning-rate controller."""
