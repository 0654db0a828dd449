"""Putting processes into a container without waiting for them.

Whatever enters a container can be stopped there, by SIGSTOP, before it has executed its program: it is born
in the container's pid namespace. Who waits for that (`isolation.enter`) therefore does so in a thread; the
monitor's loop goes on, hears of the arrival by a descriptor, and can kill what does not arrive.
"""

from __future__ import annotations

import _thread
import os
import time

from compose.linux.namespaces import reset_pid_namespace
from compose.runtime.container import birth
from compose.runtime.container.birth import Birth
from compose.runtime.supervision.monitor import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from compose.runtime.loop import Loop, Timer

    Arrived = Callable[[Any, Exception | None], None]

_STACK = 512 * 1024
_AGAIN = 0.1
"""Seconds after which a process is killed again that had not been born yet."""
_PAUSE = 0.002


class Entering:
    """A process on its way in."""

    __slots__ = (
        *("_arrived", "_birth", "_enter", "_error", "_event", "_launched", "_loop", "_timer"),
        "is_over",
    )

    def __init__(self, loop: Loop, enter: Callable[[Birth], Any], arrived: Arrived) -> None:
        """`enter` starts it and waits until it has executed its program; `arrived` is then called in the
        loop, with what it returned or raised."""
        self._loop = loop
        self._enter = enter
        self._arrived = arrived
        self._birth = Birth()
        self._launched: Any = None
        self._error: Exception | None = None
        self._timer: Timer | None = None
        self.is_over = False
        """Whether it is no longer on its way, which the loop may hear of later."""
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        loop.reader(self._event, self._hear)

    def run(self) -> None:
        """In the thread."""
        try:
            self._launched = self._enter(self._birth)
        except Exception as error:  # raised in the loop
            self._error = error
        self.is_over = True
        os.eventfd_write(self._event, 1)

    def pidfd(self) -> int:
        """A pidfd of the process as far as it has been born, for the caller, else -1."""
        return self._birth.copy()

    def kill(self) -> None:
        """End it wherever it is; `arrived` is called all the same."""
        self._birth.kill()
        self._timer = self._loop.after(_AGAIN, self.kill)

    def _hear(self) -> None:
        self._loop.forget(self._event)
        os.close(self._event)
        if self._timer is not None:
            self._timer.cancel()
        while birth.not_reaped:
            exits.reap(self._loop, birth.not_reaped.pop())
        self._arrived(self._launched, self._error)


class Door:
    """The threads of one monitor."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: list[Entering] = []
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._begun = False
        self._entering: list[Entering] = []

    def settle(self, seconds: float) -> None:
        """Wait until nobody is on his way, but no longer than that.

        For who is holds copies of all that a monitor has, its lock too. Frozen he would never let go of them,
        and nobody could succeed a monitor that dies meanwhile.
        """
        deadline = time.monotonic() + seconds
        while not all(one.is_over for one in self._entering) and time.monotonic() < deadline:
            time.sleep(_PAUSE)

    def _entering_now(self, enter: Callable[[Birth], Any], arrived: Arrived) -> Entering:
        entering = Entering(self._loop, enter, arrived)
        self._entering = [one for one in self._entering if not one.is_over]
        self._entering.append(entering)
        return entering

    def enter(self, enter: Callable[[Birth], Any], arrived: Arrived) -> Entering:
        """Let somebody in by a thread of his own, which ends when he has arrived."""
        entering = self._entering_now(enter, arrived)
        _start(entering.run)
        return entering

    def enter_again(self, enter: Callable[[Birth], Any], arrived: Arrived) -> Entering:
        """The same for what is to die with the monitor, one after the other, by a thread that stays: the
        kernel kills it when the thread ends that has started it."""
        entering = self._entering_now(enter, arrived)
        self._waiting.append(entering)
        if not self._begun:
            self._begun = True
            _start(self._stay)
        elif self._wake.locked():
            self._wake.release()
        return entering

    def _stay(self) -> None:
        while True:
            while self._waiting:
                self._waiting.pop(0).run()
            self._wake.acquire()


def _start(work: Callable[[], None]) -> None:
    reset_pid_namespace()  # no thread can be made whose children would be born elsewhere
    _thread.stack_size(_STACK)
    _thread.start_new_thread(work, ())
