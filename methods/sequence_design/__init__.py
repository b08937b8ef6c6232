"""Building blocks of sequence design: design pools, generators of sequences, language models."""
