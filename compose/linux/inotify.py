"""inotify(7): what changed in files and directories."""

from __future__ import annotations

import os
import struct

from compose.linux.libc import check, function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MODIFY: Final = 0x2
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLYDIR: Final = 0x1000000

_EVENT = struct.Struct("=iIII")


class Inotify:
    """One inotify instance; `descriptor` becomes readable when something happened."""

    __slots__ = ("_add", "_remove", "descriptor")

    def __init__(self) -> None:
        import ctypes

        self._add = function("inotify_add_watch", ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self._remove = function("inotify_rm_watch", ctypes.c_int, ctypes.c_int)
        self.descriptor = check(
            function("inotify_init1", ctypes.c_int)(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1"
        )

    def add(self, path: str, mask: int) -> int:
        """Watch `path`; the number that its events carry. Raises `OSError`."""
        return check(self._add(self.descriptor, os.fsencode(path), mask), f"watch {path}")

    def remove(self, watch: int) -> None:
        """Watch no longer; a watch whose file is gone has ended by itself."""
        self._remove(self.descriptor, watch)

    def read(self) -> list[tuple[int, int, str]]:
        """What happened since the last call: watch, mask and the entry's name."""
        found: list[tuple[int, int, str]] = []
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return found
        place = 0
        while place < len(data):
            watch, mask, _cookie, length = _EVENT.unpack_from(data, place)
            place += _EVENT.size
            name = data[place : place + length].rstrip(b"\0")
            found.append((watch, mask, os.fsdecode(name)))
            place += length
        return found

    def close(self) -> None:
        """Let go of every watch."""
        os.close(self.descriptor)
