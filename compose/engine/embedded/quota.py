"""``storage_opt: {size: ...}``: a limit for the files that a container writes into its own root.

The container's upper and work directories become one project of the file system on which they lie. Its number
is made from the container's id, so that nothing has to be written down: who removes the container finds it on
the directory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.linux import quota
from compose.model.values import byte_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_FIRST, _NUMBER = 0x7063_0000, 0xFFFF
"""Project numbers of ours; people and other engines count from 1."""
_DIRECTORIES = ("upper", "work")
_TRIES = 64


def limit(service: Mapping[str, Any], directory: str, identity: str, warn: Callable[[str], None]) -> None:
    """Bound the container's files as the service wants it; where that cannot be done `warn` is told."""
    wanted = (service.get("storage_opt") or {}).get("size")
    if not wanted:
        return
    descriptors = [os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in _DIRECTORIES]
    try:
        project = _free_project(descriptors[0], int(identity[:8], 16))
        for descriptor in descriptors:
            quota.set_project(descriptor, project)
        quota.set_limit(descriptors[0], project, byte_size(wanted))
    except OSError as error:
        warn(
            "storage_opt.size: not kept: the file system of pycompose's data has no project quotas"
            f" ({error.strerror}); mount it with prjquota (after tune2fs -O project -Q prjquota), or xfs"
            " with pquota"
        )
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def release(directory: str) -> None:
    """Take away the limit of a container that is about to be removed."""
    try:
        descriptor = os.open(f"{directory}/{_DIRECTORIES[0]}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it was never made, or is gone: it has no limit
        return
    try:
        project = quota.project_of(descriptor)
        if _FIRST <= project <= _FIRST + _NUMBER:
            quota.set_limit(descriptor, project, 0)
    except OSError:  # no such file system: there is no limit either
        return
    finally:
        os.close(descriptor)


def _free_project(descriptor: int, seed: int) -> int:
    """A project number that nobody uses on the file system."""
    for number in range(seed, seed + _TRIES):
        project = _FIRST + number % _NUMBER
        found = quota.use_of(descriptor, project)
        if not found.limit and not found.used:
            return project
    raise OSError(28, "no project number is free")
