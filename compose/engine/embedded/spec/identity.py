"""Which container it is, and the labels by which scripts and tools know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compose import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compose.model import Project
    from compose.plan.target import Wanted

_PREFIX = "com.docker.compose"


class Identity(NamedTuple):
    """Which container it is."""

    id: str
    name: str
    project: str
    number: int
    created: int
    """Nanoseconds since the epoch."""
    directory: str
    """Its lasting directory."""
    replaces: bool
    """Whether it is made anew, in the place of another one."""


def own_labels(wanted: Wanted, project: Project, identity: Identity, image: str) -> dict[str, str]:
    """Those that docker compose gives to its containers, under the same names."""
    oneoff = wanted.oneoff
    found = {
        "config-hash": wanted.config_hash,
        "depends_on": _dependencies(wanted.dependencies),
        "image": image,
        "oneoff": str(oneoff is not None),
        "project": identity.project,
        "project.config_files": ",".join(project.files),
        "project.working_dir": project.directory,
        "service": wanted.name,
        "version": __version__,
    }
    if project.env_files:
        found["project.environment_file"] = ",".join(project.env_files)
    if oneoff is not None:
        found["slug"] = oneoff.slug
    else:
        found["container-number"] = str(identity.number)
    if identity.replaces:
        found["replace"] = wanted.container_name or f"{wanted.name}-{identity.number}"
    return {f"{_PREFIX}.{name}": value for name, value in sorted(found.items())}


def _dependencies(given: Mapping[str, Mapping[str, object]]) -> str:
    """``SERVICE:CONDITION:RESTART`` of each, with commas between them."""
    restarts = {name: "true" if one.get("restart") else "false" for name, one in given.items()}
    return ",".join(f"{name}:{one['condition']}:{restarts[name]}" for name, one in sorted(given.items()))
