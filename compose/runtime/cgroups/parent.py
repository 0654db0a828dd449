"""``cgroup_parent``: a container's group lies below one that the user names instead of its project's.

    version 1, and 2 without systemd    PARENT/pycompose/PROJECT/ID
    version 2 under systemd             PARENT.slice/pycompose-ID.scope/ID

systemd owns what lies in its slices, so that there the monitor asks for a delegated scope and lives in it.
The scope ends with its last process, and a slice that was made for it with the last unit in it. Groups of
PARENT that were not there are marked when they are made, and removed when nothing is left in them. Loaded
only for a container that has such a parent.
"""

from __future__ import annotations

import os

from compose.errors import ContainerError
from compose.linux.files import write_value
from compose.runtime.cgroups import common, systemd, versions
from compose.runtime.cgroups.common import OWN_LEAF

_MARKS = ("trusted.pycompose", "user.pycompose")
"""Extended attributes; ordinary users may set the second one on a version 2 group of theirs."""


def refuse(parent: str) -> None:
    """Raise ContainerError for a parent that cannot be one on this host."""
    parts = parent.strip("/").split("/")
    if not all(parts) or ".." in parts or "\0" in parent:
        raise ContainerError(f"cgroup_parent: {parent!r} is not the path of a group")
    if _by_systemd() and (len(parts) != 1 or not parts[0].endswith(".slice")):
        raise ContainerError(
            f"cgroup_parent: {parent} is no slice, and groups are systemd's on this host",
            hint=f"write {parts[-1].partition('.')[0]}.slice",
        )


def base_of(parent: str, project: str, identity: str) -> str:
    """The group below which the container's own is, by its name."""
    path = parent.strip("/")
    if path.endswith(".slice") and "/" not in path and systemd.is_running():
        path = slice_path(path)
    if _by_systemd():
        return f"{path}/{_scope(identity)}".lstrip("/")
    return f"{path}/pycompose/{project}"


def enter(parent: str, project: str, identity: str) -> None:
    """Make the base, as the container's monitor; under systemd that moves it into the scope."""
    refuse(parent)
    base = base_of(parent, project, identity)
    if not _by_systemd():
        for root in _roots():
            _make(root, base)
        return
    try:
        description = f"pycompose container {identity[:12]} of project {project}"
        slice_name = parent.strip("/")
        systemd.enter_scope(
            _scope(identity), os.getpid(), description, OWN_LEAF, slice_name, new_slices(slice_name)
        )
        leaf = f"{common.ROOT}/{base}/{OWN_LEAF}"
        common.make_group(leaf)
        write_value(f"{leaf}/cgroup.procs", "0")
    except OSError as error:
        raise ContainerError(f"cgroup_parent: {parent}: {error.strerror or error}") from None


def leave(base: str) -> None:
    """Remove what is left of the base and of the groups above it that were made for it."""
    if base.endswith(".scope"):
        return
    for root in _roots():
        path = base
        while path:
            directory = f"{root}/{path}"
            if not _is_ours(directory):
                break
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:  # in use
                break
            path = os.path.dirname(path)


def _by_systemd() -> bool:
    return versions.version() == 2 and systemd.is_running()


def _scope(identity: str) -> str:
    return f"pycompose-{identity[:12]}.scope"


def slice_path(name: str) -> str:
    """``a-b.slice`` lies in ``a.slice``, and that in ``-.slice``, the root (systemd.slice(5))."""
    if name == "-.slice":
        return ""
    words = name.removesuffix(".slice").split("-")
    return "/".join(f"{'-'.join(words[:length])}.slice" for length in range(1, len(words) + 1))


def new_slices(name: str) -> list[str]:
    """The slices down to this one that have no group yet."""
    path = f"{common.ROOT}/{slice_path(name)}".rstrip("/")
    found = []
    while path != common.ROOT and not os.path.isdir(path):
        path, _, last = path.rpartition("/")
        found.append(last)
    return found


def _roots() -> list[str]:
    if versions.version() == 2:
        return [common.ROOT]
    from compose.runtime.cgroups import v1

    return list(v1.hierarchies().values())


def _make(root: str, base: str) -> None:
    directory = root
    for part in base.split("/"):
        directory = f"{directory}/{part}"
        try:
            if not common.make_group(directory):
                continue
        except OSError:  # not ours to use: the container's group will say so
            return
        for mark in _MARKS:
            try:
                os.setxattr(directory, mark, b"1")
                break
            except OSError:
                continue


def _is_ours(directory: str) -> bool:
    for mark in _MARKS:
        try:
            os.getxattr(directory, mark)
            return True
        except FileNotFoundError:
            return True  # somebody else was quicker
        except OSError:
            continue
    return False
