"""Networks, RLlib modules, training, shipped checkpoints."""
