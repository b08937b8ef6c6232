"""A solver, a file format and a report section for sequence design, in a package of their own."""
