"""The schema of a compose file, and the patterns of its keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "schemas" / "compose.json").read_text(encoding="utf-8")
)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema behind its reference."""
    while "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    return schema


def keys(schema: dict[str, Any], prefix: str, depth: int = 0) -> Iterator[str]:
    """Every path of keys below a schema, as a pattern."""
    schema = resolved(schema)
    inner = schema.get("properties", {})
    for key, value in inner.items():
        yield from [f"{prefix}{key}", *keys(value, f"{prefix}{key}.", depth + 1)]
    for keyword in ("additionalProperties", "items"):
        if isinstance(schema.get(keyword), dict) and depth < 9:
            yield from keys(schema[keyword], f"{prefix}*.", depth + 1)


def covered(path: str, patterns: set[str]) -> bool:
    """Whether a path or one of its ancestors is named."""
    parts = path.split(".")
    return any(".".join(parts[: length + 1]) in patterns for length in range(len(parts)))
