"""Address ranges of fast memory that are taken out of program order, compiled.

A chunk is an address range that is held over some instructions. Those that are held for 2^(k-1) to
2^k - 1 instructions are listed by start // 2^k, so that what is held in any instruction of a range
is in few lists.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

SHORTEST = 6  # chunks shorter than 2^6 instructions are listed with those of that length
NONE = -1


class Chunks(NamedTuple):
    """Up to C chunks in I instructions.

    Attributes:
        load: int64 [I]; bytes taken in each instruction.
        offset, size: int64 [C]; addresses of each chunk, bytes.
        start, end: int64 [C]; first and last instruction that it is held in.
        head: int64 [H]; the first chunk of each list, NONE for none.
        lists: int64 [K]; where the lists of each length begin in `head`; the shortest first.
        after, before: int64 [C]; the next and the previous chunk of the same list.
        made: int64 [1]; chunks so far, those given back included.
        low, top: int64 [C + 1]; scratch for the addresses that are taken.
    """

    load: np.ndarray
    offset: np.ndarray
    size: np.ndarray
    start: np.ndarray
    end: np.ndarray
    head: np.ndarray
    lists: np.ndarray
    after: np.ndarray
    before: np.ndarray
    made: np.ndarray
    low: np.ndarray
    top: np.ndarray


def make_chunks(instrs: int, most: int) -> Chunks:
    """Return room for chunks, none taken.

    Args:
        instrs: instructions of the program.
        most: chunks, C.
    """
    kinds = max(1, instrs.bit_length() - SHORTEST + 1)
    lengths = [(instrs >> (SHORTEST + kind)) + 1 for kind in range(kinds)]
    lists = np.concatenate([[0], np.cumsum(lengths)])
    offset, size, start, end, after, before = np.zeros((6, most), np.int64)
    low, top = np.zeros((2, most + 1), np.int64)
    return Chunks(
        np.zeros(instrs, np.int64), offset, size, start, end,
        np.full(lists[-1], NONE, np.int64), lists[:-1].astype(np.int64), after, before,
        np.zeros(1, np.int64), low, top,
    )  # fmt: skip


@njit(cache=True)
def _list_of(chunks: Chunks, row: int) -> int:
    """Return the list that a chunk is in."""
    length, kind = (chunks.end[row] - chunks.start[row]) >> SHORTEST, 0
    while length > 0:
        length >>= 1
        kind += 1
    return int(chunks.lists[kind] + (chunks.start[row] >> (SHORTEST + kind)))


@njit(cache=True)
def _link(chunks: Chunks, row: int) -> None:
    """Enter a chunk in its list."""
    place = _list_of(chunks, row)
    second = chunks.head[place]
    chunks.head[place] = row
    chunks.after[row], chunks.before[row] = second, NONE
    if second != NONE:
        chunks.before[second] = row


@njit(cache=True)
def _unlink(chunks: Chunks, row: int) -> None:
    """Remove a chunk from its list."""
    after, before = chunks.after[row], chunks.before[row]
    if before == NONE:
        chunks.head[_list_of(chunks, row)] = after
    else:
        chunks.after[before] = after
    if after != NONE:
        chunks.before[after] = before


@njit(cache=True)
def take(chunks: Chunks, offset: int, size: int, start: int, end: int) -> int:
    """Take addresses offset..offset+size-1 over instructions start..end; return the chunk."""
    row = chunks.made[0]
    chunks.made[0] += 1
    chunks.offset[row], chunks.size[row] = offset, size
    chunks.start[row], chunks.end[row] = start, end
    chunks.load[start : end + 1] += size
    _link(chunks, row)
    return int(row)


@njit(cache=True)
def hold_until(chunks: Chunks, row: int, end: int) -> None:
    """Hold a chunk up to a later instruction, if that is later."""
    if end > chunks.end[row]:
        _unlink(chunks, row)
        chunks.load[chunks.end[row] + 1 : end + 1] += chunks.size[row]
        chunks.end[row] = end
        _link(chunks, row)


@njit(cache=True)
def give_back(chunks: Chunks, row: int) -> None:
    """Undo `take`."""
    chunks.load[chunks.start[row] : chunks.end[row] + 1] -= chunks.size[row]
    _unlink(chunks, row)


@njit(cache=True)
def has_bytes(chunks: Chunks, size: int, start: int, end: int, capacity: int) -> bool:
    """Return whether so many bytes are free in each of the instructions start..end, be it in
    pieces.
    """
    instr = start
    while instr <= end and chunks.load[instr] + size <= capacity:
        instr += 1
    return bool(instr > end)


@njit(cache=True)
def is_free(chunks: Chunks, row: int, start: int, end: int, capacity: int) -> bool:
    """Return whether a chunk's addresses are free of other chunks over instructions start..end."""
    if not has_bytes(chunks, chunks.size[row], start, end, capacity):
        return False
    low = chunks.offset[row]
    top = low + chunks.size[row]
    for kind in range(len(chunks.lists)):
        by = SHORTEST + kind
        for place in range(max(0, (start >> by) - 1), (end >> by) + 1):
            other = chunks.head[chunks.lists[kind] + place]
            while other != NONE:
                held = chunks.start[other] <= end and chunks.end[other] >= start and other != row
                bottom = chunks.offset[other]
                if held and bottom < top and low < bottom + chunks.size[other]:
                    return False
                other = chunks.after[other]
    return True


@njit(cache=True)
def best_fit(chunks: Chunks, size: int, start: int, end: int, capacity: int) -> int:
    """Find the smallest gap that is free over instructions start..end, the lowest of equals.

    Returns:
        Its first address; NONE if no gap has `size` bytes.
    """
    if not has_bytes(chunks, size, start, end, capacity):
        return NONE
    pieces = 0
    for kind in range(len(chunks.lists) - 1, -1, -1):
        by = SHORTEST + kind
        for place in range(max(0, (start >> by) - 1), (end >> by) + 1):
            row = chunks.head[chunks.lists[kind] + place]
            while row != NONE:
                if chunks.start[row] <= end and chunks.end[row] >= start:
                    low = chunks.offset[row]
                    pieces = _cover(chunks.low, chunks.top, pieces, low, low + chunks.size[row])
                row = chunks.after[row]
    offset, smallest, low = NONE, capacity + 1, 0
    for piece in range(pieces + 1):
        bottom = chunks.low[piece] if piece < pieces else capacity
        if size <= bottom - low < smallest:
            offset, smallest = low, bottom - low
        if piece < pieces:
            low = chunks.top[piece]
    return offset


@njit(cache=True)
def _cover(low: np.ndarray, top: np.ndarray, pieces: int, bottom: int, above: int) -> int:
    """Add addresses bottom..above-1 to a union of ranges, low[k]..top[k]-1 in ascending order,
    that do not touch each other; return how many there are.
    """
    first, last = 0, pieces
    while first < last:  # the first that reaches to the new one or ends after it
        middle = (first + last) // 2
        if top[middle] < bottom:
            first = middle + 1
        else:
            last = middle
    if first < pieces and low[first] <= bottom and above <= top[first]:
        return pieces
    last = first
    while last < pieces and low[last] <= above:
        last += 1
    if last == first:
        for piece in range(pieces, first, -1):
            low[piece], top[piece] = low[piece - 1], top[piece - 1]
        low[first], top[first] = bottom, above
        return pieces + 1
    low[first], top[first] = min(low[first], bottom), max(top[last - 1], above)
    for piece in range(last, pieces):
        moved = first + 1 + piece - last
        low[moved], top[moved] = low[piece], top[piece]
    return pieces - (last - first - 1)
