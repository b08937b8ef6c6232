"""Sequence parallelism: sequences of a training step in groups of devices, and its validator."""
