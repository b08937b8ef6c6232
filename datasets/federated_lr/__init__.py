"""Federations: what one is, where it comes from."""
