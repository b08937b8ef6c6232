"""Instances of sequence parallelism: batches of sequences, loaders, generator and named sets."""
