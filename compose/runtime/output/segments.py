"""A container's output, from its FIFOs to files, without a byte passing through this process.

On disk, in containers/ID/log:

    000001.raw      what the container wrote, both streams in the order of arrival
    000001.index    records of 16 bytes: time (ns since the epoch), then offset in the raw file | stream << 63
    000002.raw ...  the next segment; the numbers only grow

A record is written *before* the bytes that it speaks of, and holds until the next one; of two records with
the same offset the later one is true. splice(2) moves bytes from the FIFO into the file in one system call,
so whoever kills us between two calls loses and doubles nothing: the successor goes on at the file's end.

A segment is closed when raw file and index together have reached `max_size` and more comes, at the end of a
line where there is one; the oldest ones beyond `max_files` are deleted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

STDOUT, STDERR = 0, 1
RECORD = 16

_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 20
_SAME_TIME = 1_000_000  # ns; closer than that, one record speaks for several writes
_STREAM_BIT = 1 << 63


def segment_numbers(directory: str) -> list[int]:
    """The numbers of the segments that exist, ascending."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(int(name[:-4]) for name in names if name.endswith(".raw") and name[:-4].isdigit())


def segment_path(directory: str, number: int, kind: str) -> str:
    """The path of a segment's file; `kind` is raw or index."""
    return f"{directory}/{number:06d}.{kind}"


def make_fifo(path: str, owner: int) -> int:
    """A FIFO that a container writes to, or the one that is there already; returns its read end.

    It is opened for reading and writing, so that it never is without a writer: the end of output is not the
    end of file. Anybody may open it for writing who can reach it, which only the container can: then
    /dev/stdout can be reopened by a process that has changed its user.
    """
    try:
        os.mkfifo(path, 0o600)
    except FileExistsError:
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            os.unlink(path)
            os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    os.fchmod(descriptor, 0o622)
    if owner:
        os.fchown(descriptor, owner, -1)
    return descriptor


def _holds_something(source: int) -> bool:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(0))


class Held(Exception):
    """A segment that would have to go is still being read: whoever writes has to wait for that."""


class Output:
    """Moves what arrives at pipes into segments."""

    __slots__ = (
        "_directory",
        "_index",
        "_index_size",
        "_kept",
        "_last_stream",
        "_last_time",
        "_max_files",
        "_max_size",
        "_number",
        "_raw",
        "_size",
    )

    def __init__(self, directory: str, max_size: int, max_files: int) -> None:
        """`max_size` is in bytes a segment, 0 for no limit; `max_files` in segments. Raises `OSError`."""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._directory = directory
        self._max_size = max_size
        self._max_files = max(1, max_files)
        self._raw = self._index = -1
        self._size = self._index_size = self._number = 0
        self._last_stream, self._last_time = -1, 0
        self._kept = True
        """Whether segments are kept for those who still read them."""
        self._open((segment_numbers(directory) or [1])[-1])

    def pump(self, source: int, stream: int) -> int:
        """Move what `source` holds; the number of bytes, 0 when it is empty.

        Raises `OSError` (ENOSPC, EDQUOT, EIO) when it cannot be written, `Held` when somebody has to read
        first: it stays in the pipe then, and the container waits.
        """
        moved = 0
        while True:
            if self._max_size and self._full():
                if not _holds_something(source):
                    return moved  # what was written last stays to be read until more comes
                self._rotate()
            self._announce(stream)
            try:
                count = os.splice(
                    source, self._raw, _CHUNK, offset_dst=self._size, flags=os.SPLICE_F_NONBLOCK
                )
            except BlockingIOError:
                return moved
            if not count:
                return moved
            self._size += count
            moved += count
            if moved >= _CHUNK:
                return moved  # the other stream, and everybody else, have a turn

    def drain(self, sources: Iterable[tuple[int, int]]) -> None:
        """Move everything that the pipes (descriptor, stream) hold: the writers have ended."""
        self._kept = False
        for source, stream in sources:
            while self.pump(source, stream):
                pass
        self._kept = True

    def say(self, text: str) -> None:
        """Write a line of our own among the errors. Raises `OSError`."""
        self._announce(STDERR)
        self._size += os.pwrite(self._raw, f"{text}\n".encode(), self._size)

    def make_room(self) -> bool:
        """Delete the oldest segment, because the disk is full; False when there is only one."""
        numbers = segment_numbers(self._directory)
        return len(numbers) > 1 and self._delete(numbers[0])

    def place(self) -> tuple[int, int]:
        """The segment, and the offset in it, where the next bytes will be."""
        return self._number, self._size

    def close(self) -> None:
        """Close the files."""
        for descriptor in (self._raw, self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._raw = self._index = -1

    def _announce(self, stream: int) -> None:
        """Write down beforehand whose bytes come next, and when."""
        now = time.time_ns()
        if stream == self._last_stream and 0 <= now - self._last_time < _SAME_TIME:
            return
        record = now.to_bytes(8, "little") + (self._size | (_STREAM_BIT if stream else 0)).to_bytes(
            8, "little"
        )
        written = os.pwrite(self._index, record, self._index_size)
        if written != RECORD:
            raise OSError(errno.ENOSPC, f"write {self._directory}: {os.strerror(errno.ENOSPC)}")
        self._index_size += RECORD
        self._last_stream, self._last_time = stream, now

    def _full(self) -> bool:
        over = self._size + self._index_size - self._max_size
        if over < 0 or not self._size:
            return False
        return over >= _LONGEST_LINE or os.pread(self._raw, 1, self._size - 1) == b"\n"

    def _rotate(self) -> None:
        self._delete_old()
        self._open(self._number + 1)
        try:
            self._delete_old()
        except Held:  # there is room for one more
            return

    def _delete_old(self) -> None:
        """Delete what is too much, the oldest first, but not what somebody still has to read."""
        for number in segment_numbers(self._directory)[: -self._max_files]:
            if not self._delete(number) and self._kept:
                raise Held

    def _open(self, number: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        index = os.open(segment_path(self._directory, number, "index"), flags, 0o600)
        try:
            raw = os.open(segment_path(self._directory, number, "raw"), flags, 0o600)
        except OSError:
            os.close(index)
            raise
        self.close()
        self._raw, self._index, self._number = raw, index, number
        self._size = os.fstat(raw).st_size
        self._index_size = os.fstat(index).st_size // RECORD * RECORD
        self._last_stream, self._last_time = -1, 0

    def _delete(self, number: int) -> bool:
        """Delete a segment; False when somebody holds it (pieces.py)."""
        from compose.linux.files import is_locked  # whoever only reads output deletes nothing

        if is_locked(segment_path(self._directory, number, "raw"), against=fcntl.LOCK_EX):
            return False
        for kind in ("raw", "index"):
            try:
                os.unlink(segment_path(self._directory, number, kind))
            except FileNotFoundError:
                pass
        return True
