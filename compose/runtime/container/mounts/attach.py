"""File systems and sources, attached below a container's root."""

from __future__ import annotations

import os
import stat

from compose.linux import mount as m
from compose.runtime.container.mounts.devices import fill_dev
from compose.runtime.container.mounts.options import Options
from compose.runtime.container.rootfs import open_target
from compose.runtime.container.steps import FILE_AND_DIRECTORY, MOUNT, MOUNT_TARGET, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.runtime.container.steps import Progress

_TEMPORARY = 0o1777
"""What a tmpfs looks like where the image has no directory of its place; so it does after a restart too."""


def in_order(mounts: Sequence[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """The mounts with their places in the configuration, parents before what lies below them."""
    return sorted(
        enumerate(mounts), key=lambda pair: len([p for p in pair[1]["destination"].split("/") if p])
    )


def attach_all(
    root: int,
    mounts: Sequence[dict[str, Any]],
    sources: dict[int, int],
    cgroups: dict[str, int] | None,
    progress: Progress,
    floors: Mapping[int, int] | None = None,
) -> None:
    """Make and attach every mount below `root`.

    `floors` are mounts that come below those of `sources` (swap.py); `cgroups` is what `Cgroup.open_mounts`
    gave.
    """
    for index, mount in in_order(mounts):
        progress.at(MOUNT, index)
        kind = mount.get("type") or ""
        options = Options(mount.get("options") or ())
        if index in sources:
            tree = sources[index]
            options.apply(tree)
            directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        else:
            tree = _new_file_system(kind, mount, options, cgroups)
            directory = True
        progress.at(MOUNT_TARGET, index)
        mode = _TEMPORARY if kind == "tmpfs" else 0o755
        target = open_target(root, mount["destination"], directory=directory, mode=mode)
        progress.at(MOUNT, index)
        if directory != stat.S_ISDIR(os.fstat(target).st_mode):
            raise Failure(MOUNT, FILE_AND_DIRECTORY, index)
        if kind == "tmpfs" and index not in sources:
            _finish_tmpfs(tree, target, options)
        if floors and index in floors:
            m.move_mount(floors[index], target)
            m.move_mount(tree, floors[index])
        else:
            m.move_mount(tree, target)
        os.close(target)
        if kind == "cgroup" and cgroups:
            _attach_hierarchies(tree, cgroups, options)
        os.close(tree)


def _new_file_system(
    kind: str, mount: dict[str, Any], options: Options, cgroups: dict[str, int] | None
) -> int:
    attributes = options.attr_set | options.tree_set
    if kind == "cgroup":
        if cgroups is None:
            return m.new_mount("cgroup2", {}, attributes, "cgroup")
        return m.new_mount(
            "tmpfs", {"mode": "755", "size": "64k"}, attributes & ~m.MOUNT_ATTR_RDONLY, "tmpfs"
        )
    if kind == "tmpfs":
        attributes &= ~m.MOUNT_ATTR_RDONLY  # `_finish_tmpfs` sets it
    tree = m.new_mount(kind, options.data, attributes, mount.get("source") or kind)
    if mount["destination"] == "/dev":
        fill_dev(tree)
    return tree


def _attach_hierarchies(tree: int, cgroups: dict[str, int], options: Options) -> None:
    """Cgroup v1: the container's directory of each hierarchy, on a tmpfs, with links for joined ones."""
    for name, source in cgroups.items():
        os.mkdir(name, 0o755, dir_fd=tree)
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
        m.mount_setattr(
            source, "", flags=m.AT_EMPTY_PATH, attr_set=options.attr_set, propagation=m.MS_PRIVATE
        )
        m.move_mount(source, place)
        os.close(place)
        os.close(source)
        for alias in name.split(","):
            if alias != name:
                os.symlink(name, alias, dir_fd=tree)
    m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, attr_set=options.attr_set)


def _finish_tmpfs(tree: int, target: int, options: Options) -> None:
    """A tmpfs looks like the directory of the image that it covers, where its options say nothing else."""
    if "mode" not in options.data:
        found = os.fstat(target)
        uid = -1 if "uid" in options.data else found.st_uid
        gid = -1 if "gid" in options.data else found.st_gid
        os.chown(".", uid, gid, dir_fd=tree)
        os.chmod(".", stat.S_IMODE(found.st_mode), dir_fd=tree)
    if options.attr_set & m.MOUNT_ATTR_RDONLY:
        m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, attr_set=m.MOUNT_ATTR_RDONLY)
