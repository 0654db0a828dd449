"""Reads what containers wrote, as lines with their time and stream.

    for time_ns, stream, line in read(directory, tail=100): ...

A line is bytes without its newline. Its time is that of the write that completed it, as under Docker. A line
that was never completed comes at the end; one longer than a mebibyte comes in pieces. Each stream has its
own unfinished line, because one may speak in the middle of the other's. Lines of several containers are
merged by time with `merge`; those of one are in order already. The files are described in segments.py.
"""

from __future__ import annotations

import os

from compose.runtime.output import segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Line = tuple[int, int, bytes]
    KeyedLine = tuple[str, int, int, bytes]

LONGEST_PIECE = 1 << 20
_BLOCK = 1 << 16
_CHUNK = 1 << 18
_OFFSET = (1 << 63) - 1
_LONGEST_LOOK = 4096  # index records


def read(directory: str, *, tail: int | None = None, since: int = 0, until: int = 0) -> Iterator[Line]:
    """The lines in the log directory of a container, of the last `tail` of them.

    `since` and `until` are times in nanoseconds; 0 stands for no limit.
    """
    reader = Reader(directory, tail=tail, since=since, until=until)
    try:
        if tail is None:
            yield from reader.all_lines()
        else:
            from collections import deque

            yield from deque(reader.all_lines(), maxlen=tail)
    finally:
        reader.close()


def merge(logs: Iterable[tuple[str, Iterable[Line]]]) -> Iterator[KeyedLine]:
    """The lines of several containers in the order of their times, each with its container's key."""
    import heapq

    def keyed(key: str, lines: Iterable[Line]) -> Iterator[KeyedLine]:
        for time_ns, stream, line in lines:
            yield key, time_ns, stream, line

    return heapq.merge(*(keyed(key, lines) for key, lines in logs), key=lambda entry: entry[1])


class Reader:
    """A place in the log of one container, from which one can read on as it grows."""

    __slots__ = (
        "_cut",
        "_directory",
        "_index",
        "_last_time",
        "_number",
        "_offset",
        "_parts",
        "_raw",
        "_record",
        "_since",
        "_tail",
        "_until",
    )

    def __init__(self, directory: str, *, tail: int | None = None, since: int = 0, until: int = 0) -> None:
        self._directory = directory
        self._since = since
        self._until = until
        self._tail = tail
        self._raw = self._index = -1
        self._number = 0
        self._offset = 0
        self._record = 0
        """The index record that speaks of `_offset`, or a later one."""
        self._parts: tuple[list[bytes], list[bytes]] = ([], [])
        self._cut = [False, False]
        """Whether a stream's first piece belongs to a line whose beginning was left out."""
        self._last_time = [0, 0]

    def close(self) -> None:
        """Close the files."""
        for descriptor in (self._raw, self._index):
            if descriptor >= 0:
                os.close(descriptor)
        self._raw = self._index = -1

    def lines(self) -> Iterator[Line]:
        """Every line that is complete by now and was not given before."""
        tail, self._tail = self._tail, None
        if tail is not None:
            yield from self._last_lines(tail)
            return
        for line in self._lines():
            if self._wanted(line[0]):
                yield line

    def rest(self) -> Iterator[Line]:
        """The unfinished lines: nothing more is to come."""
        for stream, parts in enumerate(self._parts):
            if parts and not self._cut[stream]:
                line = (self._last_time[stream], stream, b"".join(parts))
                parts.clear()
                if self._wanted(line[0]):
                    yield line

    def all_lines(self) -> Iterator[Line]:
        """`lines`, then `rest`: of a container that writes no more."""
        yield from self.lines()
        yield from self.rest()

    def place(self) -> tuple[int, int] | None:
        """Segment and offset reached, for `go_to`; None within a line or before the first segment."""
        return None if self._raw < 0 or any(self._parts) else (self._number, self._offset)

    def go_to(self, number: int, offset: int) -> bool:
        """Go on at a place that another reader has reached; False when it is not there any more."""
        self.close()
        self._number = number - 1
        if not self._open_next() or self._number != number or os.fstat(self._raw).st_size < offset:
            self.close()
            self._number = 0
            return False
        self._skip_to(offset)
        self._cut = [False, False]
        return True

    def _wanted(self, time_ns: int) -> bool:
        return time_ns >= self._since and (not self._until or time_ns < self._until)

    def _lines(self) -> Iterator[Line]:
        while True:
            if self._raw < 0 and not self._open_next():
                return
            successor = self._successor()
            yield from self._segment()
            if successor is None:
                return
            yield from self._segment()  # what came before the successor was made is there by now
            self.close()

    def _successor(self) -> int | None:
        later = [number for number in segments.segment_numbers(self._directory) if number > self._number]
        return later[0] if later else None

    def _open_next(self) -> bool:
        """Open the oldest segment after the one that was read; False when there is none."""
        while (number := self._successor()) is not None:
            if self._number and number != self._number + 1:
                self._cut = [True, True]  # segments in between were deleted before we came to them
            self._number = number
            try:
                flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
                index = os.open(segments.segment_path(self._directory, number, "index"), flags)
                try:
                    self._raw = os.open(segments.segment_path(self._directory, number, "raw"), flags)
                except OSError:
                    os.close(index)
                    raise
            except FileNotFoundError:  # deleted meanwhile
                continue
            self._index = index
            self._offset = self._record = 0
            return True
        return False

    def _segment(self) -> Iterator[Line]:
        """The complete lines between the place reached and the end of the open segment."""
        end = os.fstat(self._raw).st_size  # before the index is read: its records come before the bytes
        if end <= self._offset:
            return
        data = os.pread(self._index, 1 << 30, self._record * segments.RECORD)
        records_ = memoryview(data[: len(data) // segments.RECORD * segments.RECORD]).cast("Q")
        count = len(records_) // 2
        place = 0
        time_ns = stream = 0
        while self._offset < end:
            while place < count and records_[2 * place + 1] & _OFFSET <= self._offset:
                time_ns, word = records_[2 * place], records_[2 * place + 1]
                stream = word >> 63
                place += 1
            until = records_[2 * place + 1] & _OFFSET if place < count else end
            yield from self._stretch(time_ns, stream, min(until, end))
        self._record += max(0, place - 1)

    def _stretch(self, time_ns: int, stream: int, end: int) -> Iterator[Line]:
        """Lines of bytes that were written by one stream at one time."""
        parts = self._parts[stream]
        while self._offset < end:
            data = os.pread(self._raw, min(_CHUNK, end - self._offset), self._offset)
            if not data:
                self._offset = end
                return
            self._offset += len(data)
            *complete, left = data.split(b"\n")
            for line in complete:
                if parts:
                    parts.append(line)
                    line = b"".join(parts)
                    parts.clear()
                if self._cut[stream]:
                    self._cut[stream] = False
                    continue
                yield time_ns, stream, line
            self._last_time[stream] = time_ns
            if left:
                parts.append(left)
                if sum(map(len, parts)) >= LONGEST_PIECE:
                    piece = b"".join(parts)
                    parts.clear()
                    if not self._cut[stream]:
                        yield time_ns, stream, piece

    # the last lines -----------------------------------------------------------------------------------------

    def _last_lines(self, tail: int) -> Iterator[Line]:
        """The last `tail` complete lines without reading all before them."""
        from collections import deque

        self._seek_back(tail + 1)
        last: deque[Line] = deque(maxlen=tail)
        for line in self._lines():
            if self._wanted(line[0]):
                last.append(line)
        yield from last

    def _seek_back(self, lines: int) -> None:
        """Go to a place with at least so many ends of lines after it, or to the beginning."""
        for number in reversed(segments.segment_numbers(self._directory)):
            self.close()
            self._number = number - 1
            if not self._open_next():
                return
            lines, offset = _count_back(self._raw, lines)
            if lines <= 0:
                self._skip_to(offset)
                return
        self._cut = [False, False]

    def _skip_to(self, offset: int) -> None:
        """Go on at `offset` of the open segment: at the newline that ends a line we do not want."""
        self._offset = offset
        low, high = 0, os.fstat(self._index).st_size // segments.RECORD
        while low < high:  # the last record at or before the offset
            middle = (low + high) // 2
            if self._word(middle) & _OFFSET <= offset:
                low = middle + 1
            else:
                high = middle
        self._record = max(0, low - 1)
        stream = self._word(self._record) >> 63
        self._cut[stream] = True
        self._cut[1 - stream] = self._is_unfinished(1 - stream, self._record)

    def _word(self, record: int) -> int:
        """Offset and stream of an index record."""
        return int.from_bytes(os.pread(self._index, 8, record * segments.RECORD + 8), "little")

    def _is_unfinished(self, stream: int, record: int) -> bool:
        """Whether the last bytes of `stream` before an index record are no whole line."""
        for earlier in range(record - 1, max(-1, record - _LONGEST_LOOK), -1):
            word, end = self._word(earlier), self._word(earlier + 1) & _OFFSET
            if word >> 63 == stream and word & _OFFSET < end:
                return os.pread(self._raw, 1, end - 1) != b"\n"
        return False


def _count_back(raw: int, lines: int) -> tuple[int, int]:
    """Go back over the ends of `lines` lines; how many are still to find, and the offset reached."""
    end = os.fstat(raw).st_size
    while end > 0 and lines > 0:
        start = max(0, end - _BLOCK)
        block = os.pread(raw, end - start, start)
        found = block.count(b"\n")
        if found >= lines:
            place = len(block)
            for _each in range(lines):
                place = block.rfind(b"\n", 0, place)
            return 0, start + place
        lines -= found
        end = start
    return lines, end
