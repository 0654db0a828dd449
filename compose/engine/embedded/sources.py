"""The host's side of bind mounts, before a container is made: missing directories, SELinux labels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.errors import ContainerError
from compose.linux import selinux

if TYPE_CHECKING:
    from .spec.mounts import Source


def prepare(source: Source) -> None:
    """Make sure that a source is there, and that containers may use it; raises `ContainerError`."""
    if not os.path.exists(source.path):
        if not source.made:
            raise ContainerError(f"{source.path} is to be mounted, but does not exist", hint=source.hint)
        _make(source.path)
    if source.relabel and selinux.enabled():
        if not selinux.may_relabel(source.path):
            raise ContainerError(
                f"{source.path} is a directory of the system and must keep its SELinux labels",
                hint="remove `z` or `Z` from the mount",
            )
        selinux.relabel(source.path)


def _make(path: str) -> None:
    """A missing bind source becomes a directory of the user who owns its parent."""
    missing = []
    while not os.path.lexists(path):
        missing.append(path)
        path = os.path.dirname(path)
    if not missing:
        return
    owner = os.stat(path)
    for directory in reversed(missing):
        try:
            os.mkdir(directory, 0o755)
        except FileExistsError:  # another container wants it as well
            continue
        os.chown(directory, owner.st_uid, owner.st_gid)
