"""Policies with a memory: cells that carry a state over an episode, the RLlib module that trains
them by PPO, and imitation of whole episodes.
"""
