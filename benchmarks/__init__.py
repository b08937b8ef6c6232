"""Throughput benchmarks: each gives its ratio to a stated reference, measured in the same run."""
