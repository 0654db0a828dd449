"""What a container writes, as bytes with their stream, from a place on: for whoever is attached to it.

Unlike logs.py this waits for no end of a line: a prompt has none. The files are described in segments.py;
they hold what was written even when nobody was attached, or the monitor died meanwhile.
"""

from __future__ import annotations

import fcntl
import os

from compose.runtime.output import segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 16
_OFFSET = (1 << 63) - 1


class Pieces:
    """A place in the log of a container."""

    __slots__ = ("_directory", "_hold", "_index", "_number", "_offset", "_raw", "_record", "_stream")

    def __init__(self, directory: str, number: int = 0, offset: int = 0) -> None:
        """`offset` in the segment `number`; the beginning of the oldest one when there are none so far."""
        self._directory = directory
        self._number = number
        self._offset = offset
        self._raw = self._index = -1
        self._record = self._stream = 0
        self._hold = False

    @classmethod
    def held(cls, directory: str) -> Pieces:
        """The beginning of a log that nobody has written to yet, and that is kept for us from now on.

        As long as we have not read a segment, it is not deleted: the container waits for us instead.
        """
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for kind in ("index", "raw"):
            path = segments.segment_path(directory, 1, kind)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        found = cls(directory, 1)
        found._hold = True
        found._open()
        return found

    def close(self) -> None:
        """Close the files."""
        for descriptor in (self._raw, self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._raw = self._index = -1

    def read(self) -> Iterator[tuple[int, bytes]]:
        """Everything that has come since the last call: stream and bytes, in the order of arrival."""
        while self._raw >= 0 or self._open():
            successors = self._later()
            yield from self._segment()
            if not successors:
                return
            yield from self._segment()  # what came before the successor was made is there by now
            former, self._index, self._raw = (self._index, self._raw), -1, -1
            self._number, self._offset = successors[0], 0
            self._open()  # before the former one is let go of: none in between is deleted
            for descriptor in former:
                os.close(descriptor)

    def _later(self) -> list[int]:
        return [number for number in segments.segment_numbers(self._directory) if number > self._number]

    def _open(self) -> bool:
        """Open the segment of the place, or the oldest that there is after it; False when there is none."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        for number in [self._number, *self._later()]:
            try:
                self._index = os.open(segments.segment_path(self._directory, number, "index"), flags)
                self._raw = os.open(segments.segment_path(self._directory, number, "raw"), flags)
            except FileNotFoundError:
                self.close()
                continue
            if number != self._number:
                self._number, self._offset = number, 0
            self._record = 0
            if self._hold:
                fcntl.flock(self._raw, fcntl.LOCK_SH)
            return True
        return False

    def _segment(self) -> Iterator[tuple[int, bytes]]:
        end = os.fstat(self._raw).st_size  # before the index is read: its records come before the bytes
        if end <= self._offset:
            return
        for until in self._stretches(end):
            while self._offset < until:
                data = os.pread(self._raw, min(_CHUNK, until - self._offset), self._offset)
                if not data:
                    return
                self._offset += len(data)
                yield self._stream, data

    def _stretches(self, end: int) -> Iterator[int]:
        """Where the bytes of one stream end, and those of the next begin; `_stream` is whose they are."""
        data = os.pread(self._index, 1 << 30, self._record * segments.RECORD)
        words = memoryview(data[: len(data) // segments.RECORD * segments.RECORD]).cast("Q")[1::2]
        for place, word in enumerate(words):
            start = word & _OFFSET
            if self._offset < start < end:
                yield start
            elif start >= end:
                self._record += place
                break
            self._stream = word >> 63
        else:
            self._record += max(0, len(words) - 1)
        yield end
