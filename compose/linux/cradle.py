"""Going on as another child of one's parent, in the pid namespace that has been joined by setns(2).

Who joins a pid namespace stays outside of it himself, only his children are born there. A process that goes
on as a child of its own (CLONE_PARENT) therefore enters it last of all, when it has done everything that
others in there must have no part in. Its parent learns the new number from a page that it shares with the one
that has gone: the kernel writes it there before the new process runs, which does not have that page.
"""

from __future__ import annotations

import ctypes
import os

from compose.linux.libc import check, function, syscall
from compose.linux.numbers import SYS_clone

CLONE_PARENT, CLONE_PARENT_SETTID, SIGCHLD = 0x8000, 0x100000, 17
MADV_DONTFORK, MADV_DOFORK = 10, 11
_ENOMEM = 12
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROT_READ, _PROT_WRITE = 1, 2
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20

_mmap = function("mmap", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                 ctypes.c_long, result=ctypes.c_void_p)  # fmt: skip
_munmap = function("munmap", ctypes.c_void_p, ctypes.c_size_t)
_madvise = function("madvise", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Cradle:
    """Made before the fork; `be_born` is called in the child, `born` by its parent."""

    __slots__ = ("_page",)

    def __init__(self) -> None:
        self._page = 0
        self._page = map_memory(None, _MAP_SHARED, _PAGE)

    def __del__(self) -> None:
        if self._page:
            _munmap(self._page, _PAGE)

    def be_born(self) -> None:
        """Go on as another process; nothing of this one is left but its memory. Raises OSError."""
        advise(self._page, _PAGE, MADV_DONTFORK)
        flags = CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD
        number = syscall(SYS_clone, flags, 0, self._page, 0, 0, what="clone")
        if number:
            os._exit(0)
        self._page = 0

    def born(self) -> int:
        """The process id of the one that the child went on as; 0: it has not done so."""
        return int(ctypes.c_int.from_address(self._page).value)


def map_memory(address: int | None, flags: int, size: int) -> int:
    """mmap(2) of anonymous memory that can be written; its address."""
    found = _mmap(address, size, _PROT_READ | _PROT_WRITE, flags | _MAP_ANONYMOUS, -1, 0)
    if found is None or found == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, f"mmap: {os.strerror(number)}")
    address = int(found)
    return address


def advise(address: int, size: int, advice: int) -> None:
    """madvise(2); an area need not be full."""
    if _madvise(address, size, advice) and ctypes.get_errno() != _ENOMEM:
        check(-1, "madvise")


def unmap_memory(address: int, size: int) -> None:
    """munmap(2)."""
    check(_munmap(address, size), "munmap")
