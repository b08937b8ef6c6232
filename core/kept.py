"""Caches of what takes seconds to make, of bounded size: a process that runs for days does not
grow with every new instance.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def kept(cache: dict[K, V], key: K, most: int, make: Callable[[], V]) -> V:
    """Return what the cache holds under a key, made if it is not there.

    Args:
        cache: what is used last comes last; what was unused for longest is forgotten.
        key: of the entry.
        most: entries that the cache keeps.
        make: makes the entry.
    """
    found = cache.pop(key) if key in cache else make()
    cache[key] = found
    while len(cache) > most:
        del cache[next(iter(cache))]
    return found
