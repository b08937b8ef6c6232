"""Networks, RLlib modules, training and shipped checkpoints."""
