"""close_range, statfs, syncfs, memfd_create: what `os` lacks for descriptors. Paths: beneath.py."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import struct

from compose.linux.libc import check, function, syscall
from compose.linux.numbers import SYS_close_range, SYS_memfd_create

CGROUP2_SUPER_MAGIC = 0x63677270
DEVPTS_SUPER_MAGIC = 0x1CD1
PROC_SUPER_MAGIC = 0x9FA0

FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_TOPDIR_FL = 0x00020000

MFD_CLOEXEC = 1
MFD_ALLOW_SEALING = 2
MFD_EXEC = 0x10

_FLAGS = struct.Struct("=I")  # the kernel's word for it is long, what it reads and writes is an int

_fstatfs = function("fstatfs", ctypes.c_int, ctypes.c_char_p)
_syncfs = function("syncfs", ctypes.c_int)


def readable(descriptor: int, seconds: float | None = 0.0) -> bool:
    """Whether something can be read within some seconds (None: however long it takes), or the other side has
    gone; of a pidfd: whether its process ends."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


def readable_first(wanted: int, other: int) -> bool:
    """Wait for either descriptor; whether something can be read from the `wanted` one."""
    poll = select.poll()
    for descriptor in (wanted, other):
        poll.register(descriptor, select.POLLIN)
    return wanted in [descriptor for descriptor, _events in poll.poll()]


def writable(descriptor: int, seconds: float) -> bool:
    """Whether something can be written within some seconds, or nobody will ever read it."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


def is_locked(path: str, *, against: int) -> bool:
    """Whether somebody holds a flock(2) of the file that rules out ours, `against` (LOCK_SH or LOCK_EX).
    What is not there nobody holds."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, against | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


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


def spread_directories(directory: str) -> bool:
    """Ask the file system to lay the directories that will be made in `directory` far from each other.

    Else ext4 puts them all into one group of blocks, where every new file first looks at each inode that was
    deleted within the last minutes: with fifty containers made anew that is a third of the time. The flag is
    `T` of chattr(1). False where the file system does not have it, or not for us.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        (flags,) = _FLAGS.unpack_from(fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, bytes(8)))
        if not flags & FS_TOPDIR_FL:
            fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, _FLAGS.pack(flags | FS_TOPDIR_FL) + bytes(4))
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def write_value(path: str, value: str) -> None:
    """Write to a file in which the kernel takes a value as a whole, with a single write(2)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def memfd_create(name: str, flags: int) -> int:
    """memfd_create(2)."""
    return syscall(SYS_memfd_create, os.fsencode(name), flags, what="memfd_create")
