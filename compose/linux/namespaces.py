"""unshare and setns."""

from __future__ import annotations

import os

from compose.linux.libc import syscall
from compose.linux.numbers import SYS_setns, SYS_unshare

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


def unshare(flags: int) -> None:
    """unshare(2)."""
    syscall(SYS_unshare, flags, what="unshare")


def setns(descriptor: int, kinds: int) -> None:
    """setns(2): join the namespaces `kinds` of a pidfd, or the one namespace of a namespace descriptor."""
    syscall(SYS_setns, descriptor, kinds, what="setns")


def reset_pid_namespace() -> None:
    """Let the caller's children be born in its own pid namespace again."""
    own = os.open("/proc/thread-self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(own, CLONE_NEWPID)
    finally:
        os.close(own)


class in_network:  # noqa: N801 - used as a verb
    """While it lasts, this thread makes its sockets in the network namespace that a path leads to.

    `flags` are more ones of open(2) for the path. Raises OSError.
    """

    __slots__ = ("_flags", "_own", "_path")

    def __init__(self, path: str, flags: int = 0) -> None:
        self._path = path
        self._flags = os.O_RDONLY | os.O_CLOEXEC | flags

    def __enter__(self) -> None:
        self._own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(self._path, self._flags)
            try:
                setns(there, CLONE_NEWNET)
            finally:
                os.close(there)
        except BaseException:
            os.close(self._own)
            raise

    def __exit__(self, *_error: object) -> None:
        try:
            setns(self._own, CLONE_NEWNET)
        finally:
            os.close(self._own)


def initial_user_namespace() -> bool:
    """Whether the caller's ids are the machine's."""
    with open("/proc/self/uid_map", "rb") as file:
        return file.read().split() == [b"0", b"0", b"4294967295"]
