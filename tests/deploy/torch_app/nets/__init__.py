"""A CNN with BatchNorm, a transformer with tied embeddings and an LSTM under one controller."""
