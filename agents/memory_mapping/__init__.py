"""Memory mapping: network, compiled play, lessons, and the agents as contenders."""
