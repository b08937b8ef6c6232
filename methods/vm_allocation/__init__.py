"""Building blocks of policies that place VMs: what they see in numbers, and potentials of hosts."""
