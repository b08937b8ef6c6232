"""What solvers and agents of sequence parallelism share: filling groups, local search, bounds."""
