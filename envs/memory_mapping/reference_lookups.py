"""Where the validator looks up ranges and idle time, so that its work grows with the program's
length and not with the square of it. Plain Python; the dynamics share nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, Protocol, TypeVar


class Span(Protocol):
    """What lasts over instructions start..end."""

    start: int
    end: int


T = TypeVar("T", bound=Span)


class Timeline(Generic[T]):
    """Spans by the instructions they last over.

    Those that last for up to 2^k instructions are kept by start // 2^k, for the least k of 4, 6, 8
    and so on, so that what lasts over any instruction of a range is in few places.
    """

    def __init__(self) -> None:
        self._levels: dict[int, dict[int, list[T]]] = {}

    def add(self, span: T) -> None:
        """Enter a span."""
        level, place = self._place(span)
        self._levels.setdefault(level, {}).setdefault(place, []).append(span)

    def remove(self, span: T) -> None:
        """Remove a span that was entered."""
        level, place = self._place(span)
        self._levels[level][place].remove(span)

    def set_end(self, span: T, end: int) -> None:
        """Change the last instruction of a span that was entered."""
        self.remove(span)
        span.end = end
        self.add(span)

    def during(self, start: int, end: int) -> Iterator[T]:
        """Yield the spans that last over any of the instructions start..end."""
        for level, places in self._levels.items():
            first, last = (start >> level) - 1, end >> level
            for place in range(first, last + 1) if last - first < len(places) else list(places):
                for span in places.get(place, ()):
                    if span.start <= end and start <= span.end:
                        yield span

    @staticmethod
    def _place(span: Span) -> tuple[int, int]:
        level = max(span.end - span.start, 15).bit_length()
        level += level % 2
        return level, span.start >> level


class Amounts:
    """An amount per instruction, with sums over ranges of them in logarithmic time (a Fenwick
    tree).

    Args:
        amounts: of each instruction, none below 0.
    """

    def __init__(self, amounts: Sequence[int]) -> None:
        self._amounts = [0] * len(amounts)
        self._tree = [0] * (len(amounts) + 1)
        for at, amount in enumerate(amounts):
            self.set(at, amount)

    def __getitem__(self, at: int) -> int:
        return self._amounts[at]

    def set(self, at: int, amount: int) -> None:
        """Change the amount of an instruction."""
        change, self._amounts[at] = amount - self._amounts[at], amount
        at += 1
        while at < len(self._tree):
            self._tree[at] += change
            at += at & -at

    def before(self, end: int) -> int:
        """Return the sum of the amounts of the instructions before one."""
        total = 0
        while end > 0:
            total += self._tree[end]
            end -= end & -end
        return total

    def total(self, instrs: range) -> int:
        """Return the sum over a range, whose step is 1 or -1."""
        if not instrs:
            return 0
        low, high = sorted((instrs[0], instrs[-1]))
        return self.before(high + 1) - self.before(low)

    def reaching(self, total: int) -> int:
        """Return the first instruction with which the sum from the start on is at least `total`,
        which is above 0.
        """
        at, step = 0, 1 << (len(self._amounts).bit_length())
        while step:
            if at + step < len(self._tree) and self._tree[at + step] < total:
                at += step
                total -= self._tree[at]
            step >>= 1
        return at

    def nonzero(self, instrs: range) -> Iterator[int]:
        """Yield those of the instructions whose amount is not 0, in the order of the range, whose
        step is 1 or -1.
        """
        if instrs.step == 1:
            while instrs:
                at = self.reaching(self.before(instrs.start) + 1)
                if at >= instrs.stop:
                    return
                yield at
                instrs = range(at + 1, instrs.stop)
            return
        while instrs:
            total = self.before(instrs.start + 1)
            at = self.reaching(total) if total else -1
            if at <= instrs.stop:
                return
            yield at
            instrs = range(at - 1, instrs.stop, -1)
