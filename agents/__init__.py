"""Networks, RLlib modules, training, shipped checkpoints. Uses torch, torch-geometric and ray."""
