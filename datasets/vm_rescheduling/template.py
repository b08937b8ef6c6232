"""A small valid snapshot with every field explained, from the schema that is shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...core.problem import Template

SCHEMA = Path(__file__).parent / "snapshot.schema.json"


def template() -> Template:
    """Return a snapshot to start one's own from.

    Its key "explained" (which readers pass over) says what each field is.
    """
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    fields = _explained(schema, "")
    document = {"explained": fields, **schema["examples"][0]}
    command = "solve vm_rescheduling {file} --with greedy --budget 1 --set mnl=2 --out plan.json"
    return Template("snapshot.json", json.dumps(document, indent=1) + "\n", fields, command)


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
