"""What a mutant is: one fault in one file of the package, and why it is on the list."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FAMILIES = (
    "vm_rescheduling", "federated_lr", "memory_mapping", "sequence_design", "vm_allocation",
    "sequence_parallelism",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """A semantic fault that somebody could make.

    Attributes:
        path: file from the root of the tree.
        old: text that occurs exactly once in it; a list must follow the code.
        new: what stands there instead.
        what: the fault in a few words.
        halves: whether the environment and the validator each compute what is changed, so that the
            judge can notice. False for what one of them alone knows, such as sealed rows.
        tests: test files or tests that are run if the judge does not notice; the TESTS of the list
            if there are none.
        equivalent: why no plan or test can notice; empty for all but mutants that change nothing.
    """

    path: str
    old: str
    new: str
    what: str
    halves: bool = True
    tests: tuple[str, ...] = ()
    equivalent: str = ""

    def planted(self, text: str) -> str:
        """Return the file's text with the fault.

        Args:
            text: of the file at `path`.

        Raises:
            ValueError: `old` does not occur exactly once, or is `new`.
        """
        count = text.count(self.old)
        if count != 1 or self.old == self.new:
            raise ValueError(
                f"{self.path}: {self.what!r}: the text to replace occurs {count} times, not once; "
                f"write the mutant anew after the code: {self.old!r}"
            )
        return text.replace(self.old, self.new)

    def plant(self, tree: Path) -> str:
        """Write the fault into a copy of the tree and return the file's text as it was.

        Args:
            tree: root of the copy.
        """
        file = tree / self.path
        text = file.read_text()
        file.write_text(self.planted(text))
        return text
