"""Learning-rate controllers of federated training: policies that see a round, then set rates."""
