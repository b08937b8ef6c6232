"""Hides the packages in WITHOUT from a process and all that it starts, as if not installed."""

import importlib.machinery
import os
import sys

HIDDEN = frozenset(os.environ.get("WITHOUT", "").split())


class PathFinder(importlib.machinery.PathFinder):
    """Finds what is installed, but for what is hidden."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        """Find a module as Python does; None for one of a hidden package."""
        if name.partition(".")[0] in HIDDEN:
            return None
        return super().find_spec(name, path, target)


at = sys.meta_path.index(importlib.machinery.PathFinder)
sys.meta_path[at] = PathFinder
