"""Networks, RLlib modules, training and shipped checkpoints. Uses torch, torch-geometric and ray."""
