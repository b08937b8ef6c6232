"""Building blocks of plans for VM rescheduling: move tables, relaxations and searches over them."""
