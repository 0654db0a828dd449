"""How a process ended that may not have been our child: the truth, or None.

In this order: our own wait; the keeper's, to which a dead monitor's children come; PIDFD_GET_INFO (Linux
6.15), which tells it of anybody's process as long as a pidfd is open; field 52 of /proc/PID/stat while it is
a zombie.
"""

from __future__ import annotations

import fcntl
import os
import struct

from compose.runtime import records
from compose.runtime.children import exit_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.link import Link

_INFO_SIZE = 64  # PIDFD_INFO_SIZE_VER0
_PIDFD_GET_INFO = 0xC000FF0B | _INFO_SIZE << 16
_PIDFD_INFO_EXIT = 1 << 3
_EXIT_CODE_OFFSET = 60


def how_it_ended(link: Link | None, pid: int, started: int, pidfd: int) -> int | None:
    """The exit code of a process that has ended, by whatever way it can be learnt."""
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
        if reaped == pid:
            return exit_code(status)
    except ChildProcessError:
        pass
    fields = records.process_fields(pid)  # before the keeper waits for it
    code = link.exit_code(pid, started) if link is not None else None
    if code is None:
        code = from_pidfd(pidfd)
    if code is None and len(fields) > 49 and fields[0] == "Z" and int(fields[19]) == started:
        code = exit_code(int(fields[49]))
    return code


def from_pidfd(pidfd: int) -> int | None:
    """The exit code that the kernel keeps with a pidfd; None before Linux 6.15 or while the process runs."""
    request = bytearray(_INFO_SIZE)
    struct.pack_into("=Q", request, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", request)
    if not mask & _PIDFD_INFO_EXIT:
        return None
    (status,) = struct.unpack_from("=i", request, _EXIT_CODE_OFFSET)
    return exit_code(status)
