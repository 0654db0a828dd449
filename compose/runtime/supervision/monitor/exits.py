"""How a process ended that may not have been our child: the truth, or None.

In this order: our own wait; the keeper's, to which a dead monitor's children come; PIDFD_GET_INFO (Linux
6.15), which tells it of anybody's process as long as a pidfd is open; field 52 of /proc/PID/stat while it is
a zombie.
"""

from __future__ import annotations

import fcntl
import os
import struct

from compose.linux.process import exit_code
from compose.runtime import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.loop import Loop
    from compose.runtime.supervision.monitor.link import Link

_INFO_SIZE = 64  # PIDFD_INFO_SIZE_VER0
_PIDFD_GET_INFO = 0xC000FF0B | _INFO_SIZE << 16
_PIDFD_INFO_EXIT = 1 << 3
_EXIT_CODE_OFFSET = 60
_AGAIN = 0.2


def how_it_ended(link: Link | None, pid: int, started: int, pidfd: int) -> int | None:
    """The exit code of a process that has ended, by whatever way it can be learnt.

    A child of ours is not waited for, only looked at: `reap` it once the code is on record, so that nobody
    who kills us in between makes it unknown.
    """
    own = peek(pid)
    if own is not None:
        return own
    fields = records.process_fields(pid)  # before the keeper waits for it
    code = link.exit_code(pid, started) if link is not None else None
    if code is None:
        code = from_pidfd(pidfd)
    if code is None and len(fields) > 49 and fields[0] == "Z" and int(fields[19]) == started:
        code = exit_code(int(fields[49]))
    return code


def peek(pid: int) -> int | None:
    """The exit code of a child that has ended and stays a zombie; None for any other process."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


def reap(loop: Loop, pid: int) -> None:
    """Wait for a child that has ended; for any other process do nothing.

    One that is traced, by somebody in the container perhaps, is its tracer's first. Nobody else takes it
    after that, and without it process 1 of the container could never end.
    """
    try:
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            loop.after(_AGAIN, lambda: reap(loop, pid))
    except ChildProcessError:
        return


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
