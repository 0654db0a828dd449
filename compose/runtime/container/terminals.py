"""A terminal of a container's own devpts, for a process that enters it."""

from __future__ import annotations

import os
import stat

from compose.linux import files
from compose.linux.terminal import open_peer
from compose.runtime.container import rootfs, steps
from compose.runtime.container.steps import Failure

_PTMX = os.makedev(5, 2)


def open_inside(root: int) -> tuple[int, int]:
    """Master and slave of a new terminal below a root directory. Raises Failure, OSError."""
    place = rootfs.open_plain(root, "dev/pts/ptmx", os.O_PATH)
    try:
        found = os.fstat(place)
        if files.file_system_type(place) != files.DEVPTS_SUPER_MAGIC or found.st_rdev != _PTMX:
            raise Failure(steps.TERMINAL, 19)  # ENODEV
        if not stat.S_ISCHR(found.st_mode):
            raise Failure(steps.TERMINAL, 19)
        master = os.open(f"/proc/self/fd/{place}", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(place)
    try:
        return master, open_peer(master)
    except BaseException:
        os.close(master)
        raise
