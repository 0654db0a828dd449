"""The one thing about interfaces that must not need netlink: bringing the loopback device up."""

from __future__ import annotations

import fcntl
import os
import struct

from compose.linux.libc import check, function

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_AF_INET = 2
_SOCK_DGRAM = 2
_SOCK_CLOEXEC = 0o2000000

_socket = function("socket")


def bring_loopback_up() -> None:
    """Bring ``lo`` of the calling thread's network namespace up; the kernel gives it 127.0.0.1 and ::1."""
    descriptor = check(_socket(_AF_INET, _SOCK_DGRAM | _SOCK_CLOEXEC, 0), "socket")
    try:
        request = fcntl.ioctl(descriptor, _SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        flags = struct.unpack_from("16sH", request)[1]
        fcntl.ioctl(descriptor, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))
    finally:
        os.close(descriptor)
