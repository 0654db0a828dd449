"""Relations between packages: ``a (>= 1) | b, c:any``, deb-control(5) and Debian Policy 7."""

from __future__ import annotations

import re
from typing import NamedTuple


class Relation(NamedTuple):
    """A package, perhaps with a condition on its version."""

    name: str
    operator: str = ""
    version: str = ""


Group = tuple[Relation, ...]
"""Alternatives, the preferred one first."""

_RELATION = re.compile(r"\s*([^\s(:\[<]+)(?::\w+)?\s*(?:\(\s*([<>=]+)\s*([^\s)]+)\s*\))?[^|,]*")


def parse(text: str) -> tuple[Group, ...]:
    """All groups of a relationship field; what cannot be read is left out."""
    groups = []
    for item in text.split(","):
        group = tuple(
            Relation(match[1], match[2] or "", match[3] or "")
            for match in map(_RELATION.match, item.split("|"))
            if match
        )
        if group:
            groups.append(group)
    return tuple(groups)
