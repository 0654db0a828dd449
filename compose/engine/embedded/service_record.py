"""The configuration of the service that a container was made from: service.json, beside its spec.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.state.files import read_json, replace_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.state.paths import Paths


FILE = "service.json"


def write(paths: Paths, identity: str, config: Mapping[str, Any]) -> None:
    """Write it down; the container's directory is there."""
    replace_json(_path(paths, identity), dict(config), durable=False)


def find(paths: Paths, identity: str) -> dict[str, Any] | None:
    """The configuration; None where it cannot be read."""
    try:
        found = read_json(_path(paths, identity))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def read(paths: Paths, identity: str) -> Mapping[str, Any]:
    """The configuration; empty where it cannot be read."""
    return find(paths, identity) or {}


def _path(paths: Paths, identity: str) -> str:
    return f"{paths.container(identity)}/{FILE}"
