"""Sequence design: network and lessons; no agent is shipped yet."""
