"""What becomes of every key of the specification: `config --supported`.

The keys are those of the schema, the reasons those of `support`, so that neither can be forgotten here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from compose.model.schema import document
from compose.model.support import NOT_YET, PARTLY

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL, PARTLY_SUPPORTED, NO = "full", "partly", "no"
OBSOLETE = {"version": "obsolete; ignored with a warning, as by docker compose"}


class Row(NamedTuple):
    """One key: its pattern, in which ``*`` stands for any name or item, and what becomes of it."""

    key: str
    support: str
    reason: str = ""


def rows() -> list[Row]:
    """Every key of the schema, in alphabetical order."""
    schema = document()
    keys = sorted({path for path in _keys(schema, schema, ()) if path[-1] != "*"})
    found = {path: _row(path) for path in keys}
    return [_with_inner(path, row, found) for path, row in found.items()]


def _keys(
    schema: Any, whole: dict[str, Any], path: tuple[str, ...], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Every path of keys below a schema; one that holds itself is followed once."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name:
        if name in above:
            return
        schema, above = whole["definitions"][name], (*above, name)
    for key, inner in schema.get("properties", {}).items():
        yield (*path, key)
        yield from _keys(inner, whole, (*path, key), above)
    for keyword in ("additionalProperties", "items"):
        inner = schema.get(keyword)
        if isinstance(inner, dict):
            yield (*path, "*")
            yield from _keys(inner, whole, (*path, "*"), above)


def _row(path: tuple[str, ...]) -> Row:
    key = ".".join(path)
    for length in range(1, len(path) + 1):
        prefix = ".".join(path[:length])
        for pattern in (prefix, f"{prefix}.*"):
            if pattern in NOT_YET and (pattern == prefix or length == len(path)):
                return Row(key, NO, NOT_YET[pattern])
    for pattern in (key, f"{key}.*"):
        if pattern in PARTLY:
            return Row(key, PARTLY_SUPPORTED, PARTLY[pattern].words)
    return Row(key, NO, OBSOLETE[key]) if key in OBSOLETE else Row(key, FULL)


def _with_inner(path: tuple[str, ...], row: Row, found: dict[tuple[str, ...], Row]) -> Row:
    """A key of which some inner keys are not acted on is acted on in part."""
    if row.support != FULL:
        return row
    missing = [
        ".".join(other[len(path) :]).removeprefix("*.")
        for other, inner in found.items()
        if len(other) > len(path) and other[: len(path)] == path and inner.support == NO
    ]
    inner_partly = any(
        other[: len(path)] == path and inner.support == PARTLY_SUPPORTED for other, inner in found.items()
    )
    outer = [name for name in missing if not any(name.startswith(f"{other}.") for other in missing)]
    if outer and len(path) > 1:
        return Row(row.key, PARTLY_SUPPORTED, f"without {', '.join(outer)}")
    return Row(row.key, PARTLY_SUPPORTED, "see its keys") if outer or inner_partly else row
