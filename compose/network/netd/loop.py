"""One epoll loop with timers: all that the network process needs, at the cost of a few calls.

Handlers are called with the event mask and may raise what they want: it is reported and the loop goes on.
Sockets are closed at the end of a round, so that a late event of an old one never meets a new one that has
got the same number.
"""

from __future__ import annotations

import heapq
import time
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

__all__ = ["ERR", "HUP", "IN", "OUT", "Loop", "Timer"]

IN, OUT, ERR, HUP = EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP


class Timer:
    """A call in the future; `cancel` makes nothing of it."""

    __slots__ = ("action",)

    def __init__(self, action: Callable[[], None]) -> None:
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


class Loop:
    """Waits for descriptors and times. `report` is told every exception that a handler lets out."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._epoll = epoll()
        self._handlers: dict[int, Callable[[int], object]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._made = 0
        self._closing: list[socket] = []
        self._report = report
        self.modify = self._epoll.modify
        self.running = True

    def add(self, descriptor: int, handler: Callable[[int], object], events: int = IN) -> None:
        """Call `handler` whenever one of `events` (or an error) is there, for as long as it is there."""
        self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def handle(self, descriptor: int, handler: Callable[[int], object], events: int) -> None:
        """Give a descriptor that is watched another handler."""
        self._epoll.modify(descriptor, events)
        self._handlers[descriptor] = handler

    def rest(self, descriptor: int) -> None:
        """Hear nothing of a descriptor, errors neither, until `wake`; the handler stays."""
        self._epoll.unregister(descriptor)

    def wake(self, descriptor: int, events: int) -> None:
        """Watch a descriptor that rests again."""
        self._epoll.register(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Watch a descriptor no more."""
        if self._handlers.pop(descriptor, None) is not None:
            try:
                self._epoll.unregister(descriptor)
            except FileNotFoundError:  # it rests after a failure
                return

    def close(self, sock: socket) -> None:
        """Close a socket that nobody else holds; its handler is not called any more."""
        self._handlers.pop(sock.fileno(), None)
        self._closing.append(sock)

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Call `action` in `seconds`."""
        timer = Timer(action)
        self._made += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._made, timer))
        return timer

    def run(self) -> None:
        """Go on until `running` is false; then nothing more is done: who connects is a successor's."""
        poll, handlers = self._epoll.poll, self._handlers
        while self.running:
            patience = self._next() if self._timers else None
            for descriptor, events in poll(patience, 512) if self.running else ():
                if not self.running:
                    return
                if handler := handlers.get(descriptor):
                    try:
                        handler(events)
                    except Exception as error:
                        self._failed(descriptor, error)
            if self._closing:
                self._close_all()

    def _next(self) -> float | None:
        """Call what is due; return the seconds to the next timer."""
        timers = self._timers
        now = time.monotonic()
        while timers and (timers[0][0] <= now or timers[0][2].action is None):
            action = heapq.heappop(timers)[2].action
            if action is not None:
                try:
                    action()
                except Exception as error:
                    self._report(error)
        if self._closing:
            self._close_all()
        return max(timers[0][0] - now, 0) if timers else None

    def _failed(self, descriptor: int, error: Exception) -> None:
        self._report(error)
        handler = self._handlers.get(descriptor)
        if handler is not None:
            # One that raises again and again would keep the loop from everything else: a second's rest.
            self._epoll.unregister(descriptor)
            self.after(1, lambda: self._again(descriptor, handler))

    def _again(self, descriptor: int, handler: Callable[[int], object]) -> None:
        if self._handlers.get(descriptor) == handler:
            self._epoll.register(descriptor, IN)

    def _close_all(self) -> None:
        for sock in self._closing:
            try:
                sock.close()
            except OSError as error:
                self._report(error)
        self._closing.clear()
