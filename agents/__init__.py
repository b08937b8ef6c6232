"""Networks, RLlib modules, training and the shipped checkpoints. Uses torch, torch-geometric, ray."""
