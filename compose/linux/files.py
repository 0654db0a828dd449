"""close_range, statfs, syncfs, memfd_create: what `os` lacks for descriptors. Paths: beneath.py."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

from compose.linux.libc import check, function, syscall
from compose.linux.numbers import SYS_close_range, SYS_memfd_create

CLOSE_RANGE_CLOEXEC = 4

CGROUP2_SUPER_MAGIC = 0x63677270
DEVPTS_SUPER_MAGIC = 0x1CD1
PROC_SUPER_MAGIC = 0x9FA0
TMPFS_MAGIC = 0x01021994

MFD_CLOEXEC = 1
MFD_ALLOW_SEALING = 2
MFD_EXEC = 0x10

_fstatfs = function("fstatfs", ctypes.c_int, ctypes.c_char_p)
_syncfs = function("syncfs", ctypes.c_int)


def close_range(first: int, last: int = 0xFFFFFFFF, flags: int = 0) -> None:
    """close_range(2): close (or mark) every descriptor from `first` to `last`."""
    syscall(SYS_close_range, first, last, flags, what="close_range")


def dup_above(descriptor: int, lowest: int) -> int:
    """A close-on-exec copy of `descriptor` that is not below `lowest`."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)


def syncfs(descriptor: int) -> None:
    """syncfs(2): without it, a rename outlives a power cut and the content of the renamed files does not."""
    check(_syncfs(descriptor), "syncfs")


def file_system_type(descriptor: int) -> int:
    """The magic number of the file system that `descriptor` lies on (statfs.f_type)."""
    buffer = ctypes.create_string_buffer(256)
    check(_fstatfs(descriptor, buffer), "fstatfs")
    return int(struct.unpack_from("=q", buffer)[0])


def memfd_create(name: str, flags: int) -> int:
    """memfd_create(2)."""
    return syscall(SYS_memfd_create, os.fsencode(name), flags, what="memfd_create")
