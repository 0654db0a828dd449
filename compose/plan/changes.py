"""What changed between two configurations of a service, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_NAMED = 3

# Keys that say how a service is built, scaled and ordered, not what its container is like: a change of one of
# them alone recreates nothing (docker compose leaves the same ones out of its hash).
NOT_OF_THE_CONTAINER = frozenset(
    {"build", "pull_policy", "scale", "depends_on", "profiles", "develop", "attach"}
)


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The differing keys as ``environment.TZ changed``; at most three are named."""
    found = list(_differences("", _of_container(old), _of_container(new)))
    if not found:
        return "configuration changed"
    named = ", ".join(found[:_NAMED])
    return named if len(found) <= _NAMED else f"{named} and {len(found) - _NAMED} more"


def _of_container(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in NOT_OF_THE_CONTAINER}
    if isinstance(deploy := kept.get("deploy"), Mapping):
        kept["deploy"] = {key: value for key, value in deploy.items() if key != "replicas"}
    return kept


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        yield f"{path} changed"
        return
    for key in sorted(old.keys() | new.keys()):
        inner = f"{path}.{key}" if path else str(key)
        if key not in new:
            yield f"{inner} removed"
        elif key not in old:
            yield f"{inner} added"
        else:
            yield from _differences(inner, old[key], new[key])
