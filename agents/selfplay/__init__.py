"""Compiled self-play: whole episodes in one call, and learning from what they recorded."""
