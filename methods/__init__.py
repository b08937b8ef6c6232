"""What solvers and agents share, one room a family: relaxations, move generators, pools, searches.

A method here is a typed function that both floors above call; `solvers` puts a contender's form on
it. Nothing in here is listed as a contender.
"""
