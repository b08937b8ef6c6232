"""Offline biological sequence design as a game: build a batch of designs, be judged once."""
