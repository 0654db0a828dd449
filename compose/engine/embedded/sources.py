"""The host's side of bind mounts, before a container is made: missing directories, SELinux labels."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from compose.errors import ContainerError
from compose.linux import selinux

from .spec.mounts import MAKE_SOURCE, makes_source

if TYPE_CHECKING:
    from compose.model import Project

    from .spec.mounts import Source


def check(project: Project, name: str) -> None:
    """Refuse a service before anything is made when a file or directory that it shows is missing; raises
    `ContainerError`."""
    service = project.services[name]
    for index, mount in enumerate(service.get("volumes") or ()):
        if mount["type"] == "bind" and not makes_source(mount):
            path = ("services", name, "volumes", index)
            _expect(project, path, f"service {name}: volumes[{index}]", mount["source"], MAKE_SOURCE)
    for kind, definitions in (("configs", project.configs), ("secrets", project.secrets)):
        uses: Any = service.get(kind) or ()
        for use in uses:
            file = definitions[use["source"]].get("file")
            if file:
                of_file = (kind, str(use["source"]), "file")
                _expect(project, of_file, ".".join(of_file), file, "make it, or name another one")


def _expect(project: Project, path: tuple[str | int, ...], key: str, source: str, hint: str) -> None:
    if not os.path.exists(source):
        raise ContainerError(
            f"{project.where(path)}: {key}: {source} is to be mounted, but does not exist", hint=hint
        )


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
        # A container may write here and put a link in its place meanwhile.
        os.chown(directory, owner.st_uid, owner.st_gid, follow_symlinks=False)
