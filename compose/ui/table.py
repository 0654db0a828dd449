"""Columns as docker prints them: three spaces between, no lines."""

from __future__ import annotations

from compose.ui.terminal import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, minimum: int = 10, space: int = 3) -> str:
    """The text of a table, with a final newline.

    Columns are as wide as what is in them and `space`, and at least `minimum`. What is in them may come
    from an image: a control character would tell the terminal what to do.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [
        max(minimum, space + max(len(row[column]) for row in [header, *rows]))
        for column in range(len(header))
    ]
    lines = []
    for row in [header, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("".join(cells).rstrip() + "\n")
    return "".join(lines)


def ago(seconds: float) -> str:
    """A duration as docker says it: ``3 seconds``, ``About a minute``, ``2 hours``."""
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        whole = int(seconds)
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = int(seconds // 60)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = round(seconds / 3600)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 365 * 2:
        return f"{days // 30} months"
    return f"{days // 365} years"
