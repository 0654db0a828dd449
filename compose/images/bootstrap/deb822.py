"""Debian's control syntax: paragraphs of ``Field: value``, continued by lines that begin with a space."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of `text`, with field names in lower case; comments (``#``) are left out."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line.strip():
            lines.append(line)
        elif lines:
            yield fields(lines)
            lines = []
    if lines:
        yield fields(lines)


def fields(lines: list[str]) -> dict[str, str]:
    """One paragraph. Lines of a value are divided by newlines; a line of one dot stays as it is."""
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[0] in " \t":
            if name:
                found[name] += "\n" + line[1:]
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower() if colon else ""
        if name:
            found[name] = value.strip()
    return found
