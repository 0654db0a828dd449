"""seccomp(2)."""

from __future__ import annotations

import ctypes
import struct

from compose.linux.libc import syscall
from compose.linux.numbers import SYS_seccomp

SECCOMP_SET_MODE_FILTER = 1


class Filter:
    """A loaded-to-memory classic BPF program, ready to be installed without any further allocation."""

    __slots__ = ("_buffer", "_header")

    def __init__(self, program: bytes) -> None:
        self._buffer = ctypes.create_string_buffer(program, len(program))
        self._header = struct.pack("@HP", len(program) // 8, ctypes.addressof(self._buffer))

    @property
    def header(self) -> bytes:
        """What seccomp(2) wants to be pointed to, for as long as this object lives."""
        return self._header

    def install(self) -> None:
        """Install the program for the calling thread; needs no_new_privs or CAP_SYS_ADMIN."""
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, self._header, what="seccomp")
