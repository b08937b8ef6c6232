"""Programs: what an instance of memory mapping is, and where instances come from."""
