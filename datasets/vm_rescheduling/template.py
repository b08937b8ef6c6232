"""A small valid snapshot with every field explained, from the schema that is shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parent / "snapshot.schema.json"


def template() -> tuple[str, str]:
    """Return the name and the text of a snapshot to start one's own from.

    Its key "explained" (which readers pass over) says what each field is.
    """
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    document = {"explained": _explained(schema, ""), **schema["examples"][0]}
    return "snapshot.json", json.dumps(document, indent=1) + "\n"


def _explained(schema: dict[str, Any], place: str) -> dict[str, str]:
    """Return what each field is, by its path; "[]" stands for the members of a list."""
    found: dict[str, str] = {}
    if "items" in schema:
        return _explained(schema["items"], place + "[]")
    needed = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        path = f"{place}.{name}".lstrip(".")
        found[path] = ("needed. " if name in needed else "") + field["description"]
        found |= _explained(field, path)
    return found
