"""Policies with a memory: a cell that carries a state over an episode, the RLlib module that trains
them by PPO, and imitation of whole episodes.
"""
