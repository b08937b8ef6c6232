"""Dynamics, observations, rewards, validators and rendering, one room a family."""
