"""Building blocks of plans for memory mapping: wishes, relaxations and searches over them."""
