"""A small event loop on epoll: descriptors that become readable, and times that come.

`selectors` and `asyncio` would do more and cost more (1 and 15 MB a process); this is all that a keeper and a
monitor need. Callbacks must not block.
"""

from __future__ import annotations

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[], None]

_LONGEST_SLEEP = 86_400.0
"""Seconds; epoll_wait(2) counts milliseconds in an int and cannot sleep for a month."""


class Timer:
    """A call that will be made; `cancel` it when it is no longer wanted."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        """Make the call never."""
        self.callback = None


class Loop:
    """Calls back until `stop`."""

    __slots__ = ("_epoll", "_readers", "_running", "_timers")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callback] = {}
        self._timers: list[Timer] = []
        self._running = True

    def reader(self, descriptor: int, callback: Callback, *, urgent: bool = False) -> None:
        """Call back whenever `descriptor` is readable or hung up; `urgent`: when a file of the kernel
        changes."""
        events = select.EPOLLPRI if urgent else select.EPOLLIN
        if descriptor in self._readers:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._readers[descriptor] = callback

    def forget(self, descriptor: int) -> None:
        """Call back no more for `descriptor`, which is still open."""
        if self._readers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def after(self, seconds: float, callback: Callback) -> Timer:
        """Call back once, in `seconds`."""
        timer = Timer(time.monotonic() + seconds, callback)
        self._timers.append(timer)
        return timer

    def stop(self) -> None:
        """End `run` after the callback that is being made."""
        self._running = False

    def run(self) -> None:
        """Make calls until `stop`."""
        while self._running:
            for descriptor, _events in self._epoll.poll(self._patience()):
                callback = self._readers.get(descriptor)
                if callback is not None:
                    callback()
                if not self._running:
                    return
            self._make_due_calls()

    def close(self) -> None:
        """Close the epoll descriptor; the registered ones stay open."""
        self._epoll.close()
        self._readers.clear()
        self._timers.clear()

    def _patience(self) -> float:
        self._timers = [timer for timer in self._timers if timer.callback is not None]
        if not self._timers:
            return -1.0
        patience = min(timer.when for timer in self._timers) - time.monotonic()
        return max(0.0, min(patience, _LONGEST_SLEEP))

    def _make_due_calls(self) -> None:
        if not self._timers:
            return
        now = time.monotonic()
        for timer in sorted(
            (timer for timer in self._timers if timer.when <= now), key=lambda timer: timer.when
        ):
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()
