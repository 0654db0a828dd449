"""What a key of the file does inside the container: a service for each row, whose output is compared."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.command import Stack


class Row(NamedTuple):
    key: str
    """The key or keys that the row is about."""
    yaml: str
    """The rest of the service, in flow style."""
    script: str
    """What its command does; empty where the row says that itself."""
    expected: str


STATUS = "grep -E '^{}:' /proc/self/status | tr -s '\\t ' ' '"


def services(rows: Sequence[Row]) -> str:
    """The rows as services of a file; their names are made from the keys."""
    return "".join(f"  {name(rows, row)}: {{image: IMAGE, {_command(row)}{row.yaml}}}\n" for row in rows)


def _command(row: Row) -> str:
    return f"command: [sh, -c, {json.dumps(row.script.replace('$', '$$'))}], " if row.script else ""


def name(rows: Sequence[Row], row: Row) -> str:
    words = "".join(c if c.isalnum() else "-" for c in row.key.lower())
    return f"{words}-{1 + rows.index(row)}"


def wrong(stack: Stack, rows: Sequence[Row]) -> dict[str, tuple[str, str]]:
    """Once all services have ended: the rows that did not write what was expected, with what they wrote."""
    stack.run("logs", "-f")  # until all have ended
    found: dict[str, list[str]] = {}
    for line in stack.run("logs").splitlines():
        before, _, text = line.partition("| ")
        found.setdefault(before.strip().removesuffix("-1"), []).append(text)
    outputs = {row: "\n".join(found.get(name(rows, row), [])) for row in rows}
    return {row.key: (row.expected, output) for row, output in outputs.items() if output != row.expected}
