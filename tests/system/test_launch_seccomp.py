"""The default seccomp filter in the real kernel: every refused call, and the other architectures."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import TYPE_CHECKING

import pytest

from compose.linux.process import PR_SET_NO_NEW_PRIVS, prctl
from compose.linux.seccomp import Filter
from compose.runtime.container import capabilities
from tests.support.launching import in_monitor
from tests.unit.test_launch_seccomp import NUMBERS, REFUSED, compiled

if TYPE_CHECKING:
    from collections.abc import Callable

MACHINE = os.uname().machine
BAD = -1
"""An argument that is neither a pointer, a descriptor nor a set of flags: no call does anything with it."""


def errno_of(number: int, *arguments: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    ctypes.set_errno(0)
    values = [ctypes.c_long(value) for value in (number, *(arguments or [BAD] * 6))]
    return ctypes.get_errno() if libc.syscall(*values) == -1 else 0


def filtered(work: Callable[[], dict[str, int]], names: list[str] | None = None) -> dict[str, int]:
    program = Filter(compiled(names=names, machine=MACHINE))

    def run() -> dict[str, int]:
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        program.install()
        return work()

    return in_monitor(run)


def test_every_refused_call_is_refused_by_the_kernel(nothing_left: None) -> None:
    numbers = {name: NUMBERS[MACHINE][name] for name in REFUSED if name in NUMBERS[MACHINE]}
    found = filtered(lambda: {name: errno_of(number) for name, number in numbers.items()})
    assert found == dict.fromkeys(numbers, 1)


def test_arguments_and_new_calls(nothing_left: None) -> None:
    calls = NUMBERS[MACHINE]

    def work() -> dict[str, int]:
        return {
            "clone3": errno_of(calls["clone3"]),
            "unknown": errno_of(1000),
            "alg": errno_of(calls["socket"], 38, 5, 0),
            "vsock": errno_of(calls["socket"], 40, 1, 0),
            "unix": errno_of(calls["socket"], 1, 1, 0),
            "clone": errno_of(calls["clone"], 0x10000000, 0, 0, 0, 0),
            "personality": errno_of(calls["personality"], 0x0040000),
            "getpid": errno_of(calls["getpid"]),
            "unshare": errno_of(calls["unshare"], 0),
        }

    assert filtered(work) == {
        **{"clone3": 38, "unknown": 38, "alg": 1, "vsock": 1, "unix": 0, "clone": 1, "personality": 1},
        **{"getpid": 0, "unshare": 1},
    }
    allowed = filtered(lambda: {"unshare": errno_of(calls["unshare"], 0)}, capabilities.select(["SYS_ADMIN"]))
    assert allowed == {"unshare": 0}


def test_the_32_bit_door(nothing_left: None) -> None:
    """int 0x80 and x32 lead to other numbers of the same calls; each has a table of its own."""
    assert MACHINE == "x86_64", "write this for the other machine too"

    def work() -> dict[str, int]:
        return {
            "mount": int80(NUMBERS["x86"]["mount"]),
            "reboot": int80(NUMBERS["x86"]["reboot"]),
            "close": int80(NUMBERS["x86"]["close"]),
            "x32": errno_of(0x40000000 | NUMBERS["x32"]["mount"]),
            "unknown": int80(1000),
        }

    found = filtered(work)
    assert (found["mount"], found["reboot"], found["x32"], found["unknown"]) == (1, 1, 1, 38)
    assert found["close"] in (9, 38)  # EBADF; ENOSYS where the kernel does not run 32-bit programs


def int80(number: int) -> int:
    """errno of a 32-bit system call with arguments of -1."""
    code = b"\x53\x89\xf8\xbb\xff\xff\xff\xff\x89\xd9\x89\xda\x89\xde\x89\xdf\xcd\x80\x5b\xc3"
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    result = int(call(number))
    return -result if result < 0 else 0


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_kernel_takes_programs_of_both_machines(nothing_left: None, machine: str) -> None:
    program = Filter(compiled(machine=machine))

    def work() -> str:
        pid = os.fork()
        if pid == 0:
            prctl(PR_SET_NO_NEW_PRIVS, 1)
            program.install()
            os._exit(0)
        return str(os.waitpid(pid, 0)[1] & 0x7F)

    assert in_monitor(work) == ("0" if machine == MACHINE else "31")  # SIGSYS: not one of its calls
