"""Parse YAML that a stranger may have made: bounded in size, depth, digits and aliases."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from ..core.documents import MOST_DEPTH, MOST_DIGITS
from ..core.errors import InstanceError
from ..core.files import read_text

MOST_CHARACTERS = 2**19  # PyYAML takes some seconds for as many
MOST_NODES = 100_000  # of a document, with every alias written out


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Args:
        path: the file.

    Raises:
        InstanceError: see `read_text` and `parse_yaml`.
    """
    return parse_yaml(str(path), read_text(path))


def parse_yaml(place: str, text: str) -> Any:
    """Parse a YAML document of plain values: no tags that make objects.

    Args:
        place: what errors call the document.
        text: the document.

    Raises:
        InstanceError: not valid YAML, or it breaks a bound of this module.
    """
    if len(text) > MOST_CHARACTERS:
        raise InstanceError(
            f"{place}: has {len(text)} characters, more than {MOST_CHARACTERS}; give a shorter one"
        )
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InstanceError(f"{place}: cannot be read as YAML ({error})") from error


class _Loader(yaml.SafeLoader):
    """SafeLoader within the bounds, which refuses a key that stands twice."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes: dict[Node, int] = {}  # how many nodes each is, with its aliases written out

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        is_alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise yaml.YAMLError(f"nested more than {MOST_DEPTH} deep")
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if is_alias and node not in self._nodes:
            raise yaml.YAMLError("an alias stands for what it is in itself")
        if not is_alias:
            self._nodes[node] = self._size(node)
        if self._nodes[node] > MOST_NODES:
            raise yaml.YAMLError(f"more than {MOST_NODES} values, with aliases written out")
        return node

    def _size(self, node: Node) -> int:
        if isinstance(node, ScalarNode):
            is_text = node.tag == "tag:yaml.org,2002:str"
            if not is_text and len(node.value) > MOST_DIGITS:
                raise yaml.YAMLError(f"a number of {len(node.value)} digits")
            return 1
        if isinstance(node, MappingNode):
            keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, ScalarNode)]
            if len(set(keys)) < len(keys):
                twice = next(key for key, count in Counter(keys).items() if count > 1)
                raise yaml.YAMLError(f"the key {twice[1]!r} stands twice in one mapping")
            return 1 + sum(self._nodes[one] for pair in node.value for one in pair)
        return 1 + sum(self._nodes[one] for one in node.value)
