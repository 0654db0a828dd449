"""Attributes of processes: prctl, capabilities, pidfds, keyrings, host names."""

from __future__ import annotations

import ctypes
import os
import struct

from compose.linux.libc import syscall
from compose.linux.numbers import (
    SYS_capget,
    SYS_capset,
    SYS_keyctl,
    SYS_pidfd_getfd,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_prctl,
    SYS_setdomainname,
    SYS_sethostname,
)

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

KEYCTL_JOIN_SESSION_KEYRING = 1

_CAPABILITY_VERSION_3 = 0x20080522


def prctl(option: int, *arguments: int | bytes) -> int:
    """prctl(2); missing arguments are 0."""
    return syscall(SYS_prctl, option, *arguments, *([0] * (4 - len(arguments))), what=f"prctl {option}")


def set_name(name: str) -> None:
    """What ps and top call this process; the kernel keeps 15 bytes."""
    prctl(PR_SET_NAME, name.encode()[:15])


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) of the calling thread; each set is a bit mask."""
    syscall(SYS_capset, *capset_arguments(effective, permitted, inheritable), what="capset")


def capset_arguments(effective: int, permitted: int, inheritable: int) -> tuple[bytes, bytes]:
    """What capset(2) wants to be pointed to."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    low, high = 0xFFFFFFFF, 32
    data = struct.pack(
        "=6I",
        *(effective & low, permitted & low, inheritable & low),
        *(effective >> high, permitted >> high, inheritable >> high),
    )
    return header, data


def capget() -> tuple[int, int, int]:
    """capget(2) of the calling thread: effective, permitted, inheritable as bit masks."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    syscall(SYS_capget, header, data, what="capget")
    words = struct.unpack("=6I", data.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def exit_code(status: int) -> int:
    """The exit code of a wait status; 128 + signal when one ended the process, as shells have it."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def pidfd_open(pid: int) -> int:
    """pidfd_open(2): a descriptor that stands for the process, whatever becomes of its number."""
    return syscall(SYS_pidfd_open, pid, 0, what=f"pidfd_open {pid}")


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """pidfd_send_signal(2); raises ProcessLookupError when the process has ended and was reaped."""
    syscall(SYS_pidfd_send_signal, pidfd, signal, None, 0, what=f"pidfd_send_signal {signal}")


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """pidfd_getfd(2): a copy of a descriptor of another process."""
    return syscall(SYS_pidfd_getfd, pidfd, descriptor, 0, what="pidfd_getfd")


def join_session_keyring(name: str) -> None:
    """keyctl(KEYCTL_JOIN_SESSION_KEYRING): a new and empty session keyring."""
    syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.encode(), 0, 0, 0, what="keyctl join")


def sethostname(name: str) -> None:
    """sethostname(2)."""
    syscall(SYS_sethostname, name.encode(), len(name.encode()), what=f"sethostname {name}")


def setdomainname(name: str) -> None:
    """setdomainname(2)."""
    syscall(SYS_setdomainname, name.encode(), len(name.encode()), what=f"setdomainname {name}")
