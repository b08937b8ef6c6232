"""Sequence design: network, play, lessons, and the agents as contenders."""
