"""Devices of a container whose numbers have changed since it was made: drivers count anew at every boot.

A node of ``linux.devices`` says in ``source`` what device of the host it stands for. Loaded only for
containers that have devices of their own.
"""

from __future__ import annotations

import os
import stat

from compose.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}


def renumber(linux: dict[str, Any]) -> None:
    """Give nodes and rules of an OCI ``linux`` section the numbers that the host's devices have now.

    An ``optional`` device that is gone is left out; raises `ContainerError` for any other.
    """
    rules: list[dict[str, Any]] = linux.get("resources", {}).get("devices") or []
    kept = []
    for node in linux.get("devices") or ():
        source = node.get("source")
        found = _look(source) if source else _identity(node)
        if found is None:
            if not node.get("optional"):
                raise ContainerError(f"device {source} is not there any more", hint="plug it in again")
            continue
        former = _identity(node)
        if found != former:
            for rule in rules:
                if rule.get("allow") and _identity(rule) == former:
                    rule["type"], rule["major"], rule["minor"] = found
            node["type"], node["major"], node["minor"] = found
        kept.append(node)
    linux["devices"] = kept


def _identity(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry.get("type"), entry.get("major"), entry.get("minor")


def _look(path: str) -> tuple[str, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    return None if kind is None else (kind, os.major(found.st_rdev), os.minor(found.st_rdev))
