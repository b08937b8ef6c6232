"""What the package brings: where each is; nothing is imported before it is used."""

from sysopt_gym.core.registry import Entry

SOLVERS = {"point_mutants": Entry(".point_mutants:solve")}
FORMATS = {".fasta": ".fasta:load_file"}
PICTURES = (".letters:pictures",)
