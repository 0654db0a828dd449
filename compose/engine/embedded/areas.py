"""What is mounted from inside of a directory that a container of the project can write to.

Such a container can put a link in the place of the file or directory, and the next start would show it what
the link leads to. So the source is noted as a path below the *area* (the uppermost such directory), which a
start resolves without leaving it; where a link leads out of it already when the container is made, that place
is noted too, and no other one is accepted later (runtime/container/mounts/sources.py).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from compose.model import Project


def pin(mounts: Sequence[dict[str, Any]], areas: Collection[str]) -> None:
    """Note in the OCI bind mounts of a container that is being made how their sources are to be found."""
    for mount in mounts:
        if mount.get("type") == "bind" and "area" not in mount:
            found = _within(str(mount["source"]), areas)
            if found is not None:
                mount["area"], mount["within"] = found
                real = os.path.realpath(mount["source"])
                if not _below(real, found[0]):
                    mount["leads_to"] = real


def of_project(project: Project) -> frozenset[str]:
    """The directories of the host that containers of the project can write to, with their real paths."""
    services = (of_service(service) for service in project.services.values())
    options = (volume.get("driver_opts") or {} for volume in project.volumes.values())
    devices = (str(found.get("device") or "") for found in options)
    return _directories(device for device in devices if device[:1] == "/").union(*services)


def of_service(service: Mapping[str, Any]) -> frozenset[str]:
    """Those of one service."""
    mounts = (mount for mount in service.get("volumes") or () if mount["type"] == "bind")
    return _directories(mount["source"] for mount in mounts if not mount.get("read_only"))


def _directories(paths: Iterable[str]) -> frozenset[str]:
    found = {os.path.realpath(path) for path in paths}
    return frozenset(path for path in found - {"/"} if os.path.isdir(path) or not os.path.exists(path))


def _within(source: str, areas: Collection[str]) -> tuple[str, str] | None:
    """The area that a path goes through, and the rest of the path below it; None for one that is none's."""
    parts = [part for part in source.split("/") if part]
    for length in range(1, len(parts)):
        above = os.path.realpath("/" + "/".join(parts[:length]))
        around = [area for area in areas if _below(above, area)]
        if around:
            area = min(around, key=len)
            return area, os.path.join(above[len(area) :].lstrip("/"), *parts[length:])
    return None


def _below(path: str, area: str) -> bool:
    return path == area or path.startswith(area + "/")
