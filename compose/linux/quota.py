"""Project quotas: a limit for all files below a directory (ext4 and xfs, where they are mounted with it).

Every file carries a project number, which new files inherit from their directory; the file system counts and
bounds what each project takes (quotactl_fd(2), Linux 5.14; FS_IOC_FSSETXATTR).
"""

from __future__ import annotations

import ctypes
import fcntl
import struct

from compose.linux.libc import syscall
from compose.linux.numbers import SYS_quotactl_fd

FS_IOC_FSGETXATTR = 0x801C581F
FS_IOC_FSSETXATTR = 0x401C5820
FS_XFLAG_PROJINHERIT = 0x200
Q_GETQUOTA = 0x800007
Q_SETQUOTA = 0x800008
PRJQUOTA = 2
QIF_BLIMITS = 1
_BLOCK = 1024  # bytes; QIF_DQBLKSIZE
_FSXATTR = struct.Struct("=IIIII8x")  # xflags, extsize, nextents, projid, cowextsize
_DQBLK = struct.Struct("=8QI4x")  # hard and soft blocks, bytes used, hard and soft inodes, inodes used, times


class Use:
    """What a project may take and takes, in bytes; a limit of 0 is none."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int, used: int) -> None:
        self.limit = limit
        self.used = used


def project_of(directory: int) -> int:
    """The project number of an open directory; 0: none."""
    return int(_FSXATTR.unpack(_attributes(directory))[3])


def set_project(directory: int, project: int) -> None:
    """Let an open directory, and whatever is made in it from now on, belong to a project."""
    flags, extent, extents, _, copy_extent = _FSXATTR.unpack(_attributes(directory))
    new = _FSXATTR.pack(flags | FS_XFLAG_PROJINHERIT, extent, extents, project, copy_extent)
    fcntl.ioctl(directory, FS_IOC_FSSETXATTR, new)


def use_of(descriptor: int, project: int) -> Use:
    """The quota of a project on the file system of `descriptor`.

    Raises OSError: ESRCH or ENOSYS where that file system keeps none.
    """
    block = ctypes.create_string_buffer(_DQBLK.size)
    try:
        _quotactl(descriptor, Q_GETQUOTA, project, block)
    except FileNotFoundError:  # xfs knows nothing of a number that nobody has used
        return Use(0, 0)
    fields = _DQBLK.unpack(block.raw)
    return Use(fields[0] * _BLOCK, fields[2])


def set_limit(descriptor: int, project: int, size: int) -> None:
    """Bound what a project takes, in bytes, rounded up to KiB; 0: no limit."""
    blocks = -(-size // _BLOCK)
    data = _DQBLK.pack(blocks, blocks, 0, 0, 0, 0, 0, 0, QIF_BLIMITS)
    _quotactl(descriptor, Q_SETQUOTA, project, ctypes.create_string_buffer(data, len(data)))


def _attributes(directory: int) -> bytes:
    return fcntl.ioctl(directory, FS_IOC_FSGETXATTR, bytes(_FSXATTR.size))


def _quotactl(descriptor: int, command: int, project: int, block: ctypes.Array[ctypes.c_char]) -> None:
    number = command << 8 | PRJQUOTA
    syscall(SYS_quotactl_fd, descriptor, number, project, block, what="quotactl")
