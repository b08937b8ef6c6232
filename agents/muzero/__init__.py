"""MuZero for any environment of discrete actions: search, networks and the RLlib algorithm."""
