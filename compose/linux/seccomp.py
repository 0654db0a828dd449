"""seccomp(2)."""

from __future__ import annotations

import ctypes
import struct

from compose.linux.libc import syscall
from compose.linux.numbers import MACHINE, SYS_seccomp

SECCOMP_SET_MODE_FILTER = 1
_ALLOWED = (0x7FFF0000, 0x7FFC0000)  # SECCOMP_RET_ALLOW, SECCOMP_RET_LOG
_AUDIT_ARCH = 0xC000003E if MACHINE == "x86_64" else 0xC00000B7
_INSTRUCTION = struct.Struct("=HBBI")
_JUMPS = {
    0x15: lambda accumulator, value: accumulator == value,
    0x25: lambda accumulator, value: accumulator > value,
    0x35: lambda accumulator, value: accumulator >= value,
    0x45: lambda accumulator, value: accumulator & value != 0,
}
"""BPF_JMP | BPF_K with BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET."""


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

    @property
    def program(self) -> bytes:
        """The program itself."""
        return self._buffer.raw

    def allows(self, number: int, *arguments: int) -> bool:
        """Whether a process may make this system call; a program that does more than compare allows none."""
        words = [value & (1 << 64) - 1 for value in (*arguments, *[0] * (6 - len(arguments)))]
        data = struct.pack("=IIQ6Q", number, _AUDIT_ARCH, 0, *words)
        program, place, accumulator = self._buffer.raw, 0, 0
        while place < len(program):
            code, yes, no, value = _INSTRUCTION.unpack_from(program, place)
            place += _INSTRUCTION.size
            if code == 0x06:  # BPF_RET | BPF_K
                return value & 0xFFFF0000 in _ALLOWED
            if code == 0x20:  # BPF_LD | BPF_W | BPF_ABS
                accumulator = struct.unpack_from("=I", data, value)[0]
            elif code == 0x54:  # BPF_ALU | BPF_AND | BPF_K
                accumulator &= value
            elif code == 0x05:  # BPF_JMP | BPF_JA
                place += value * _INSTRUCTION.size
            elif code in _JUMPS:
                place += (yes if _JUMPS[code](accumulator, value) else no) * _INSTRUCTION.size
            else:
                return False
        return False

    def install(self) -> None:
        """Install the program for the calling thread; needs no_new_privs or CAP_SYS_ADMIN."""
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, self._header, what="seccomp")
