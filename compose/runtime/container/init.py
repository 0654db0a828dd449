"""Process 1 for containers with ``init: true``: passes signals on, reaps orphans, ends as its child does.

The danger is anything of ours that lives on inside a container: a Python there could be made to load the
container's files, or have its own file overwritten. So this is a static program of some hundred bytes without
libraries, files or a heap. Its image lies in a sealed memfd of its own for every start: /proc/1/exe shows
nothing that is shared or could be written. It is executed by `hardening.become` like any other program, after
the user, the capabilities and the seccomp filter are those of the container, and then executes the
container's program as its child; when that fails it reports it as `become` would have done.

Signals are blocked and read from a signalfd, for which two reasons hold: /proc/1/status tells `stop.hears`
that they arrive, and process 1 of a pid namespace gets only those that it blocks or handles.
"""

from __future__ import annotations

import fcntl
import os
import struct

from compose.linux import files
from compose.runtime.container import init_code, steps
from compose.runtime.container.steps import LaunchError

_ADD_SEALS, _SEAL_ALL = 1033, 0x0F  # F_ADD_SEALS; F_SEAL_SEAL | SHRINK | GROW | WRITE
_BASE = 0x400000
_EM_X86_64, _EM_AARCH64 = 62, 183
_ELF64 = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_PT_LOAD, _PT_GNU_STACK = 1, 0x6474E551
_PF_X, _PF_W, _PF_R = 1, 2, 4
_ET_EXEC = 2


def program(machine: str = "") -> bytes:
    """The program as an ELF file for `machine` (as uname -m has it; empty: this one). Raises LaunchError."""
    name = machine or os.uname().machine
    if name == "x86_64":
        return _elf(_EM_X86_64, init_code.assemble(init_code.X86_64, struct.pack("<i", steps.EXEC)))
    if name in ("aarch64", "arm64"):
        mov_w1 = struct.pack("<I", 0x52800001 | steps.EXEC << 5)
        return _elf(_EM_AARCH64, init_code.assemble(init_code.AARCH64, mov_w1))
    raise LaunchError(steps.INIT, 38, f"init: there is none for {name} machines", hint="remove 'init: true'")


def _elf(machine: int, code: bytes) -> bytes:
    """A static executable of one read-only segment, at a fixed address, with a stack without code."""
    start = _ELF64.size + 2 * _SEGMENT.size
    size = start + len(code)
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    segments = (_ELF64.size, 0, 0, _ELF64.size, _SEGMENT.size, 2, 0, 0, 0)
    header = _ELF64.pack(identity, _ET_EXEC, machine, 1, _BASE + start, *segments)
    load = _SEGMENT.pack(_PT_LOAD, _PF_R | _PF_X, 0, _BASE, _BASE, size, size, 0x10000)
    stack = _SEGMENT.pack(_PT_GNU_STACK, _PF_R | _PF_W, 0, 0, 0, 0, 0, 16)
    return header + load + stack + code


def open_program() -> int:
    """A descriptor to execute the program by, which nobody can write through. Raises LaunchError, OSError."""
    content = program()
    flags = files.MFD_CLOEXEC | files.MFD_ALLOW_SEALING
    try:
        copy = files.memfd_create("init", flags | files.MFD_EXEC)
    except OSError as error:
        if error.errno != 22:  # before Linux 6.3, which does not know the flag, every memfd can be executed
            text = steps.words(steps.INIT, error.errno or 0, 0, "")
            raise LaunchError(steps.INIT, error.errno or 0, text, hint="sysctl vm.memfd_noexec=0") from None
        copy = files.memfd_create("init", flags)
    try:
        os.write(copy, content)
        fcntl.fcntl(copy, _ADD_SEALS, _SEAL_ALL)
        # Linux refuses to execute what is open for writing (ETXTBSY), so go on with a read-only descriptor.
        return os.open(f"/proc/self/fd/{copy}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(copy)
