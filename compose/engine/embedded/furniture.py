"""What every container finds in its root besides its image, as under Docker and podman.

    /.dockerenv    empty: by it programs and scripts know that they are in a container
    /etc/mtab      a link to /proc/mounts, which older programs read (Java, df)

It is the lowest layer of all: an image that has such files keeps its own, and none of them gets into an image
that is made of the container.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.linux.beneath import remove_path
from compose.linux.files import syncfs

if TYPE_CHECKING:
    from compose.state.paths import Paths


def layer(paths: Paths) -> str:
    """The directory; made when it is not there, whole or not at all."""
    if not os.path.isdir(paths.furniture):
        _make(paths.furniture)
    return paths.furniture


def _make(directory: str) -> None:
    scratch = f"{directory}.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        os.makedirs(f"{scratch}/etc", mode=0o755)
        os.symlink("/proc/mounts", f"{scratch}/etc/mtab")
        descriptor = os.open(f"{scratch}/.dockerenv", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o755)
        try:
            syncfs(descriptor)  # containers that are on record need it, also after a power cut
        finally:
            os.close(descriptor)
        os.rename(scratch, directory)
    except OSError:
        remove_path(scratch)
        if not os.path.isdir(directory):  # else somebody else was quicker
            raise
