"""Signals as something that is waited for beside other things.

A handler runs between two steps of Python, so a signal that comes just before a call that blocks is acted on
when that returns, perhaps never. Here the number of each is in a pipe as soon as it comes.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_AT_ONCE = 4096


class Heard:
    """These signals do nothing by themselves meanwhile; for the main thread alone."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = {*numbers}

    def __enter__(self) -> Heard:
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, _noted) for number in self._numbers}
        return self

    def __exit__(self, *_error: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._reading)
        os.close(self._writing)

    def fileno(self) -> int:
        """Becomes readable when a signal has come."""
        return self._reading

    def take(self) -> list[int]:
        """The numbers of those that have come, at least one: others may be among them that Python handles."""
        return [*os.read(self._reading, _MOST_AT_ONCE)]


def _noted(*_arguments: object) -> None:
    """The number has been written to the pipe."""
