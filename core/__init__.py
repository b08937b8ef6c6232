"""Ground floor: the contracts every other floor is built on."""
