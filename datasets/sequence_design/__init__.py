"""Design tasks: what an instance of sequence design is, and where instances come from."""
