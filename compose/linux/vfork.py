"""A child that shares the caller's memory and makes a list of system calls, the last of which is execve.

`os.fork` of an interpreter copies its page tables and then, one by one, the pages that parent and child go
on to write: more work than most programs do that are started for a moment. vfork(2) copies nothing, but
Python cannot run in its child, as both would change the same objects. So the child runs no Python: what it is
to do is laid down before as system calls with their arguments, and a few instructions (vfork_code.py) make
one after the other. The calling thread stands still until the child has executed a program or ended.

What the child must not do is let anybody else reach the shared memory: the caller is not dumpable (`spawn`
sees to that), which keeps ptrace and /proc/PID/mem from whoever has not the host's own CAP_SYS_PTRACE.
"""

from __future__ import annotations

import ctypes
import os
import struct

from compose.linux import vfork_code
from compose.linux.libc import check, function
from compose.linux.numbers import MACHINE
from compose.linux.process import PR_SET_DUMPABLE, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CALL = struct.Struct("=iI6QQ")
_ARGUMENTS = 8
"""Where the arguments begin in a call."""
_USE, _SAVE, _ABSOLUTE = 1, 2, 4
_CLONE_ARGS = struct.Struct("=11Q")
_CLONE_VM, _CLONE_PIDFD, _CLONE_VFORK, _CLONE_INTO_CGROUP = 0x100, 0x1000, 0x4000, 0x200000000
_SIGCHLD = 17
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROT_READ, _PROT_WRITE, _PROT_EXEC = 1, 2, 4
_MAP_PRIVATE, _MAP_ANONYMOUS = 0x02, 0x20

ANY_ERROR = 0xFFFFFFFFFFFFFFFF
"""The mask of a call that may fail."""

_mmap = function("mmap", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                 ctypes.c_long, result=ctypes.c_void_p)  # fmt: skip
_mprotect = function("mprotect", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_Code = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


def tolerate(*errors: int) -> int:
    """The mask of these errno values, each below 64."""
    return sum(1 << error for error in errors)


class Calls:
    """System calls for a child, in their order."""

    __slots__ = ("_calls", "_kept", "_memory", "_note", "_pidfd")

    def __init__(self) -> None:
        self._calls: list[bytes] = []
        self._kept: list[object] = []
        self._memory: ctypes.Array[ctypes.c_char] | None = None
        self._note = ctypes.create_string_buffer(16)
        self._pidfd = ctypes.c_int(-1)

    def add(
        self,
        number: int,
        *arguments: int | bytes,
        tolerated: int = 0,
        use: bool = False,
        save: bool = False,
        absolute: bool = False,
    ) -> int:
        """One more call; returns its place. Bytes are passed as a pointer to a copy.

        `tolerated` is a mask of errno values after which the child goes on; any other ends it. `save` keeps
        the result for the first argument of every later call with `use`. `absolute`: it ends also when what
        the first argument points to does not begin with a slash afterwards.
        """
        values = [self.pointer(value) if isinstance(value, bytes) else value for value in arguments]
        words = [value & 0xFFFFFFFFFFFFFFFF for value in (*values, *[0] * (6 - len(values)))]
        flags = _USE * use | _SAVE * save | _ABSOLUTE * absolute
        self._calls.append(_CALL.pack(number, flags, *words, tolerated))
        return len(self._calls) - 1

    def pointer(self, data: bytes) -> int:
        """The address of a copy of `data` that lives as long as this object."""
        buffer = ctypes.create_string_buffer(data, len(data) + 1)
        self._kept.append(buffer)
        return ctypes.addressof(buffer)

    def pointers(self, texts: list[bytes]) -> int:
        """The address of a list of pointers to strings, with NULL at its end."""
        return self.pointer(struct.pack(f"={len(texts) + 1}Q", *map(self.pointer, texts), 0))

    def change(self, place: int, argument: int, value: int) -> None:
        """Give a call another argument (counted from 0)."""
        memory = self._laid_down()
        struct.pack_into("=Q", memory, place * _CALL.size + _ARGUMENTS + argument * 8, value)

    def pidfd(self) -> int:
        """The pidfd of the last child, for another thread while `spawn` goes on; -1 while nothing waits."""
        return int(self._pidfd.value)

    def spawn(self, cgroup: int = -1) -> tuple[int, int]:
        """Start the child, in the control group (version 2) of a descriptor: its process id and pidfd.

        Every signal must be blocked. Raises OSError for the call that failed, after which there is no child;
        a child that was killed before its execve is returned like any other.
        """
        memory, code = self._laid_down(), _code()
        into = _CLONE_INTO_CGROUP if cgroup >= 0 else 0
        flags = _CLONE_VM | _CLONE_VFORK | _CLONE_PIDFD | into
        pidfd = ctypes.addressof(self._pidfd)
        how = _CLONE_ARGS.pack(flags, pidfd, 0, 0, _SIGCHLD, 0, 0, 0, 0, 0, max(cgroup, 0))
        ctypes.memset(self._note, 0, 16)
        pid = code(ctypes.addressof(memory), how, len(how), ctypes.addressof(self._note))
        if pid < 0:
            raise OSError(-pid, f"clone3: {os.strerror(-pid)}")
        where, error = struct.unpack("=QQ", self._note)
        descriptor, self._pidfd.value = self._pidfd.value, -1
        if not error:
            return pid, descriptor
        os.waitpid(pid, 0)
        os.close(descriptor)
        place = (where - ctypes.addressof(memory)) // _CALL.size
        raise OSError(error, f"call {place}: {os.strerror(error)}")

    def _laid_down(self) -> ctypes.Array[ctypes.c_char]:
        if self._memory is None:
            end = _CALL.pack(-1, 0, 0, 0, 0, 0, 0, 0, 0)
            content = b"".join([*self._calls, end])
            self._memory = ctypes.create_string_buffer(content, len(content))
        return self._memory


_loaded: list[Callable[..., int]] = []


def _code() -> Callable[..., int]:
    """The function, made executable and never writable again; raises OSError where that is forbidden."""
    if not _loaded:
        prctl(PR_SET_DUMPABLE, 0)
        code = vfork_code.assemble(vfork_code.X86_64 if MACHINE == "x86_64" else vfork_code.AARCH64)
        address = _mmap(None, _PAGE, _PROT_READ | _PROT_WRITE, _MAP_PRIVATE | _MAP_ANONYMOUS, -1, 0)
        if address is None or address == ctypes.c_void_p(-1).value:
            number = ctypes.get_errno()
            raise OSError(number, f"mmap: {os.strerror(number)}")
        ctypes.memmove(address, code, len(code))
        check(_mprotect(address, _PAGE, _PROT_READ | _PROT_EXEC), "mprotect")
        _loaded.append(_Code(address))
    return _loaded[0]
