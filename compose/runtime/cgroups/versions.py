"""The choice between both versions of control groups; only the one that this host has is loaded."""

from __future__ import annotations

import os

from compose.errors import ContainerError
from compose.runtime.cgroups import common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compose.runtime.cgroups.common import Cgroup


def version() -> int:
    """1, or 2 where the whole tree is version 2 (a hybrid tree counts as 1: its controllers are there)."""
    if _root_version[0] != common.ROOT:
        from compose.runtime.cgroups import v2

        _root_version[:] = [common.ROOT, 2 if v2.is_unified() else 1]
    return int(_root_version[1])


_root_version: list[str | int] = ["", 0]
"""The root that was looked at, and its version; a machine does not change it while it runs."""


def prepare(project: str) -> tuple[str, list[str]]:
    """Move the calling process (a project's keeper) into a group of its own, out of its caller's.

    Returns the base path for the project's containers, and the controllers that are missing on this host.
    """
    if version() == 2:
        from compose.runtime.cgroups import v2

        return v2.prepare(project)
    from compose.runtime.cgroups import v1

    return v1.prepare(project)


def bases_of(project: str) -> list[str]:
    """The bases that `prepare` may have given to a project; none of them need be there."""
    bases = [f"pycompose/{project}"]
    if version() == 2:
        bases.append(f"system.slice/pycompose-{project}.scope")
    return bases


def create(base: str, name: str, resources: dict[str, Any] | None = None) -> Cgroup:
    """Make (or find) the group `name` below `base` and set its limits; ContainerError when it cannot be."""
    group = find(base, name, make=True)
    group.update(resources or {})
    return group


def find(base: str, name: str, *, make: bool = False) -> Cgroup:
    """The group `name` below `base`; without `make` it need not be there."""
    path = f"{base}/{name}".strip("/")
    if ".." in path.split("/"):
        raise ContainerError(f"control group {path}: not a path below the root")
    try:
        if version() == 2:
            from compose.runtime.cgroups import v2

            return v2.CgroupV2(path, make=make)
        from compose.runtime.cgroups import v1

        return v1.CgroupV1(path, make=make)
    except OSError as error:
        raise ContainerError(f"make control group {path}: {os.strerror(error.errno or 0)}") from None


def of_process(pid: int) -> Cgroup:
    """The group that a process is in, found through /proc; raises OSError when there is no such process."""
    wanted = "" if version() == 2 else "freezer"
    for line in common.read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if wanted in controllers.split(","):
            base, _, name = path.strip("/").rpartition("/")
            return find(base, name)
    raise OSError(2, "no control group")


def remove_base(base: str) -> None:
    """Remove a project's own groups once its last process has left them; what is in use stays."""
    if version() == 2:
        from compose.runtime.cgroups import v2

        v2.remove_base(base)
        return
    from compose.runtime.cgroups import v1

    v1.remove_base(base)
