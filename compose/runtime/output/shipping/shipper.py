"""Sends a container's output on, from the raw log, as fast as the other side takes it.

How far it has come stands in log/shipped: ``SEGMENT OFFSET LINES``, the place in the log after which no line
was begun, and how many lines after it have been sent. Whoever takes over goes on there; after a kill in
between a few lines may come twice, none is missing. What rotation removes before it was sent is lost.
"""

from __future__ import annotations

import os
import time

from compose.runtime.output.logs import Reader
from compose.runtime.output.segments import segment_numbers
from compose.state.files import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from compose.runtime.loop import Loop, Timer
    from compose.runtime.output.logs import Line
    from compose.runtime.output.shipping.transport import Transport

    class Driver(Protocol):
        def packets(self, time_ns: int, stream: int, line: bytes) -> list[bytes]: ...


_SHIPPED = "shipped"
_GATHER = 0.02
"""Seconds within which lines go together."""
_MOST_AT_ONCE = 512
"""Lines after which everybody else in the loop has a turn."""
_LAST_BREATH = 3.0
"""Seconds that the other side has to take the last lines of a container that ended."""


class Shipper:
    """The way of one container's log to its driver."""

    def __init__(self, loop: Loop, directory: str, driver: Driver, transport: Transport) -> None:
        self._loop = loop
        self._path = f"{directory}/{_SHIPPED}"
        self._driver = driver
        self._transport = transport
        self._reader = Reader(directory)
        self._lines: Iterator[Line] | None = None
        self._pending: list[bytes] = []
        self._timer: Timer | None = None
        self._place, self._sent = self._resume(directory)
        self._skip = self._sent

    def wake(self) -> None:
        """Something was written."""
        if self._timer is None:
            self._timer = self._loop.after(_GATHER, self._work)

    def finish(self) -> None:
        """The container has ended: send what there still is, unless nobody takes it."""
        self._cancel()
        deadline = time.monotonic() + _LAST_BREATH
        while not self._send(_MOST_AT_ONCE, last=True):
            if time.monotonic() >= deadline or self._transport.fails:
                break
            self._transport.wait(deadline - time.monotonic())
        self._remember()
        self._reader.close()
        self._transport.close()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _work(self) -> None:
        self._timer = None
        try:
            everything = self._send(_MOST_AT_ONCE)
        except OSError:  # a segment that cannot be read any more
            everything = True
        self._remember()
        if not everything:
            self._timer = self._loop.after(self._patience(), self._work)

    def _patience(self) -> float:
        return self._transport.patience() if self._pending else 0.0

    def _send(self, most: int, *, last: bool = False) -> bool:
        """Send up to so many lines; whether there is nothing more to send now."""
        for _line in range(most):
            while self._pending:
                if not self._transport.send(self._pending[0]):
                    return False
                del self._pending[0]
                if not self._pending:
                    self._sent += 1
            line = self._next(last=last)
            if line is None:
                return True
            if self._skip > 0:
                self._skip -= 1
                continue
            self._pending = self._driver.packets(*line)
            if not self._pending:
                self._sent += 1
        return False

    def _next(self, *, last: bool) -> Line | None:
        """The next line of the log that is complete; with `last` the incomplete ones too, at the end."""
        line = None if self._lines is None else next(self._lines, None)
        if line is None:  # what was there when it began has been given; more may have come since
            self._lines = self._reader.lines()
            line = next(self._lines, None)
        if line is None:
            self._lines = None
            if last:
                return next(self._reader.rest(), None)
        return line

    def _remember(self) -> None:
        """Write down how far it has come."""
        before = self._place, self._sent
        if self._lines is None and not self._pending:
            place = self._reader.place()
            if place is not None and place != self._place:
                self._place, self._sent, self._skip = place, 0, 0
        if (self._place, self._sent) == before and os.path.exists(self._path):
            return
        text = f"{self._place[0]} {self._place[1]} {self._sent}\n"
        try:
            replace(self._path, text.encode(), durable=False)
        except OSError:
            pass  # the disk is full: some lines may be sent again

    def _resume(self, directory: str) -> tuple[tuple[int, int], int]:
        """The place and the lines after it that a predecessor has reached."""
        try:
            with open(self._path, "rb", buffering=0) as file:
                number, offset, sent = map(int, file.read(100).split())
        except (OSError, ValueError):
            return (0, 0), 0
        if number not in segment_numbers(directory) or not self._reader.go_to(number, offset):
            return (0, 0), 0
        return (number, offset), sent
