"""Memory mapping: the mallocGame after mallocMuZero (2023) and its independent validator."""
