"""A child that makes a list of system calls, the last of which is execve, and runs no Python for it.

`os.fork` of an interpreter copies its page tables and then, one by one, the pages that parent and child go
on to write: more work than most programs do that are started for a moment. vfork(2) copies nothing, but
Python cannot run in its child, as both would change the same objects. So the child runs no Python: what it is
to do is laid down before as system calls with their arguments, and a few instructions (vfork_code.py) make
one after the other. The calling thread stands still until the child has executed a program, gone on as
another process, or ended.

A list may go on as another process twice, both times as a child of the caller:

    leave_memory()    with memory of its own, of which nothing is left but the list
    be_born()         in the pid namespace that has been joined: whoever sees it there finds nothing in it
                      but what the calls before have left it

The second process ends then, or with `back_to` makes some of its calls again, the last of which lets one more
be born.

The memory is one mapping: the instructions, a page for the notes of each of the three, then the list and what
its calls point to. The second note's page is shared with the caller, so that the second process can be asked
what it has done; the third, which others may have in their hands, has no part in that.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import struct

from compose.linux import vfork_code
from compose.linux.cradle import (
    CLONE_PARENT,
    CLONE_PARENT_SETTID,
    MADV_DOFORK,
    MADV_DONTFORK,
    SIGCHLD,
    advise,
    map_memory,
    unmap_memory,
)
from compose.linux.libc import check, function
from compose.linux.numbers import MACHINE, SYS_clone, SYS_clone3, SYS_madvise, SYS_munmap
from compose.linux.process import PR_SET_DUMPABLE, prctl

_CALL = struct.Struct("=iI6QQ")
_ARGUMENTS = 8
"""Where the arguments begin in a call."""
_USE, _SAVE, _ABSOLUTE, _FORK, _AGAIN = 1, 2, 4, 8, 16
_CLONE_ARGS = struct.Struct("=11Q")
_CGROUP = 80
"""Where the control group's descriptor stands in those, and the flags at 0."""
_CLONE_VM, _CLONE_VFORK, _CLONE_INTO_CGROUP = 0x100, 0x4000, 0x200000000
_PAGE = 65536
"""The largest that a kernel has; the distance between notes."""
_ENOMEM = 12
"""What madvise(2) says of an area that is not full, when it has done its work."""
_SIZE = 4 << 20
"""Of the mapping: more than an environment and a list can have; only what is written takes up memory."""
_PROT_READ, _PROT_EXEC = 1, 4
_MAP_SHARED, _MAP_PRIVATE, _MAP_FIXED, _MAP_NORESERVE = 0x01, 0x02, 0x10, 0x4000
_KERNELS = ("[vdso]", "[vvar", "[sigpage]", "[uprobes]")
"""What the kernel has put into every process, and may not let go."""

_NOTE = struct.Struct("=QQqQ")
"""The address of the last call, its error, where the note is written to, and the process that has gone on."""
_FORKED = 24
_SHARED = 64
"""Where in the second note's page the place for other things begins."""
REPORT = 3
"""The descriptor on which the last process reports an error: 16 bytes, see `read_report`."""

ANY_ERROR = 0xFFFFFFFFFFFFFFFF
"""The mask of a call that may fail."""

_mprotect = function("mprotect", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_Code = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


forking = _thread.allocate_lock()
"""Held by every thread that forks, where there may be several: `begin` takes the caller's memory from what is
forked meanwhile."""


def tolerate(*errors: int) -> int:
    """The mask of these errno values, each below 64."""
    return sum(1 << error for error in errors)


class Calls:
    """System calls for a child, in their order. Raises OSError where memory cannot be made executable."""

    __slots__ = ("_base", "_calls", "_code", "_end", "_how", "_others", "_table")

    def __init__(self) -> None:
        self._base = 0
        self._calls: list[bytes] = []
        self._table = 0
        self._how = 0
        self._others: list[tuple[int, int]] = []
        self._base = map_memory(None, _MAP_PRIVATE | _MAP_NORESERVE, _SIZE)
        self._end = self._base + 4 * _PAGE
        code = vfork_code.assemble(vfork_code.X86_64 if MACHINE == "x86_64" else vfork_code.AARCH64)
        ctypes.memmove(self._base, code, len(code))
        check(_mprotect(self._base, _PAGE, _PROT_READ | _PROT_EXEC), "mprotect")
        map_memory(self._note(1), _MAP_SHARED | _MAP_FIXED, _PAGE)
        self._code = _Code(self._base)

    def __del__(self) -> None:
        if self._base:
            unmap_memory(self._base, _SIZE)

    def add(
        self,
        number: int,
        *arguments: int | bytes,
        tolerated: int = 0,
        use: bool = False,
        save: bool = False,
        absolute: bool = False,
        fork: bool = False,
        again: bool = False,
    ) -> int:
        """One more call; returns its place. Bytes are passed as a pointer to a copy.

        `tolerated` is a mask of errno values after which the child goes on; any other ends it. `save` keeps
        the result for the first argument of every later call with `use`. `absolute`: it ends also when what
        the first argument points to does not begin with a slash afterwards. With `fork` only that process
        goes on for which the result is 0; with `again` the other one goes by the sixth argument, in bytes,
        from the call that would be next.
        """
        values = [self.pointer(value) if isinstance(value, bytes) else value for value in arguments]
        words = [value & 0xFFFFFFFFFFFFFFFF for value in (*values, *[0] * (6 - len(values)))]
        flags = _USE * use | _SAVE * save | _ABSOLUTE * absolute | _FORK * fork | _AGAIN * again
        self._calls.append(_CALL.pack(number, flags, *words, tolerated))
        return len(self._calls) - 1

    def leave_memory(self) -> None:
        """Go on as a child of the caller whose memory is its own, and holds nothing but this list."""
        flags = CLONE_PARENT | CLONE_PARENT_SETTID
        how = _CLONE_ARGS.pack(flags, 0, 0, self._note(0) + _FORKED, 0, 0, 0, 0, 0, 0, 0)
        self._how = self.pointer(how)
        self._others = _everything_but(self._base, self._base + _SIZE)
        for first, last in self._others:
            self.add(SYS_madvise, first, last - first, MADV_DONTFORK, tolerated=tolerate(_ENOMEM))
        self.add(SYS_clone3, self._how, len(how), fork=True)
        for first, last in self._others:
            self.add(SYS_munmap, first, last - first)

    def share(self) -> None:
        """Keep what is shared with the caller from those who are born from here on."""
        self.add(SYS_madvise, self._note(1), _PAGE, MADV_DONTFORK)

    def be_born(self, back_to: int | None = None) -> None:
        """Go on as a child of the caller in the pid namespace that has been joined. With `back_to` the one
        before goes on as well, from the call of that place, after `share`."""
        flags = CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD
        if back_to is None:
            self.share()
        distance = 0 if back_to is None else (back_to - len(self._calls) - 1) * _CALL.size
        again = back_to is not None
        self.add(SYS_clone, flags, 0, self.born_at, 0, 0, distance, fork=True, again=again)

    @property
    def born_at(self) -> int:
        """Where the process id stands of the one that was born last, in what is shared with the caller."""
        return self._note(1) + _FORKED

    @property
    def shared(self) -> int:
        """Where a list may put more that the caller is to see."""
        return self._note(1) + _SHARED

    def pointer(self, data: bytes) -> int:
        """The address of a copy of `data` that lives as long as this object."""
        place = self._end
        if place + len(data) + 1 > self._base + _SIZE:
            raise OSError(7, "too much to be passed to a program")  # E2BIG
        ctypes.memmove(place, data, len(data))
        self._end = (place + len(data) + 1 + 15) & ~15
        return place

    def pointers(self, texts: list[bytes]) -> int:
        """The address of a list of pointers to strings, with NULL at its end."""
        return self.pointer(struct.pack(f"={len(texts) + 1}Q", *map(self.pointer, texts), 0))

    def change(self, place: int, argument: int, value: int) -> None:
        """Give a call another argument (counted from 0)."""
        where = self._laid_down() + place * _CALL.size + _ARGUMENTS + argument * 8
        ctypes.memmove(where, struct.pack("=Q", value), 8)

    def spawn(self) -> int:
        """Start the child, whose list does not go on as another process; its process id.

        Every signal must be blocked. Raises OSError for the call that failed, after which there is no child;
        a child that was killed before its execve is returned like any other.
        """
        pid = self._start()
        try:
            self._look(0)
        except OSError:
            os.waitpid(pid, 0)
            raise
        return pid

    def begin(self, cgroup: int = -1) -> int:
        """Start the child; the process id of the one with memory of its own, or 0 when the child was killed.

        `cgroup` is the descriptor of a control group (version 2) that this one is born in. Every signal must
        be blocked, and `forking` be held. Raises OSError when there is none.
        """
        self._laid_down()
        flags = CLONE_PARENT | CLONE_PARENT_SETTID | (_CLONE_INTO_CGROUP if cgroup >= 0 else 0)
        ctypes.memmove(self._how, struct.pack("=Q", flags), 8)
        ctypes.memmove(self._how + _CGROUP, struct.pack("=Q", max(cgroup, 0)), 8)
        try:
            pid = self._start()
        finally:
            for first, last in self._others:
                advise(first, last - first, MADV_DOFORK)
        os.waitpid(pid, 0)
        self._look(0)
        return self._went_on(0)

    def born(self) -> int:
        """The process id of the one that was born last, once the one before has ended; 0: it was not born.

        Raises OSError for the call that failed.
        """
        self._look(1)
        return self._went_on(1)

    def forget_born(self) -> None:
        """Let the process be known that will be born next."""
        ctypes.memset(self.born_at, 0, 8)

    def read_report(self, data: bytes) -> OSError:
        """What the process that was born last has written to the descriptor REPORT."""
        where, error = struct.unpack("=QQ", data.ljust(16, b"\0")[:16])
        return self._error(where, error)

    def _start(self) -> int:
        prctl(PR_SET_DUMPABLE, 0)
        table = self._laid_down()
        how = _CLONE_ARGS.pack(_CLONE_VM | _CLONE_VFORK, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0)
        for number in range(3):
            ctypes.memmove(self._note(number), _NOTE.pack(0, 0, REPORT if number == 2 else -1, 0), _NOTE.size)
        pid: int = self._code(table, how, len(how), self._note(0))
        if pid < 0:
            raise OSError(-pid, f"clone3: {os.strerror(-pid)}")
        return pid

    def _note(self, number: int) -> int:
        return self._base + (1 + number) * _PAGE

    def _look(self, number: int) -> None:
        where, error, _, _ = _NOTE.unpack(ctypes.string_at(self._note(number), _NOTE.size))
        if error:
            raise self._error(where, error)

    def _went_on(self, number: int) -> int:
        pid: int = _NOTE.unpack(ctypes.string_at(self._note(number), _NOTE.size))[3]
        return pid

    def _error(self, where: int, error: int) -> OSError:
        place = (where - self._table) // _CALL.size
        return OSError(error, f"call {place}: {os.strerror(error & 0xFFFF)}")

    def _laid_down(self) -> int:
        if not self._table:
            end = _CALL.pack(-1, 0, 0, 0, 0, 0, 0, 0, 0)
            self._table = self.pointer(b"".join([*self._calls, end]))
        return self._table


def _everything_but(first: int, last: int) -> list[tuple[int, int]]:
    """The parts of this process's memory outside of an area, and of what is the kernel's."""
    kept, top = [(first, last)], 0
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.split(None, 5)
            begin, end = (int(number, 16) for number in fields[0].split("-"))
            if end > 1 << 63:  # [vsyscall]
                continue
            top = max(top, end)
            if len(fields) > 5 and fields[5].startswith(_KERNELS):
                kept.append((begin, end))
    found, place = [], 0
    for begin, end in [*sorted(kept), (top, top)]:
        if place < begin:
            found.append((place, begin))
        place = max(place, end)
    return found
