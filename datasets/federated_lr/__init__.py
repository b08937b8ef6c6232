"""Federations: what one is, where it comes from. Uses core and numpy."""
