"""A process that is put into a container again and again: a health probe.

It is born there from a nurse (container/nursery.py), who is kept as long as the next birth is not far away.
What does not go that way goes the one of every other process that enters, which is slower and can say what is
wrong.
"""

from __future__ import annotations

import os

from compose.errors import ContainerError
from compose.linux.files import readable
from compose.linux.process import pidfd_open
from compose.runtime.supervision.monitor import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compose.runtime.container.nursery import Nursery
    from compose.runtime.spec import Process
    from compose.runtime.supervision.monitor.door import Arrived, Entering
    from compose.runtime.supervision.monitor.monitor import Monitor

_KEPT = 5.0
"""Seconds until the next birth for which a nurse is kept."""
_MOST_FAILURES = 3
"""In a row, after which there is no nurse any more."""
_LAST_BREATH = 1.0
_SIGKILL = 9


class Born:
    """A process that has been born from a nurse."""

    __slots__ = ("pid", "pidfd")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = pidfd_open(pid)


class Repeated:
    """One such process in one run of a container; it is on its way in once at a time."""

    def __init__(self, monitor: Monitor, process: Process) -> None:
        self._monitor = monitor
        self._process = process
        isolation = monitor.context.isolation
        self._regular = isolation.Regular(process, monitor.spec.get("seccomp") or "", monitor.group.cgroup)
        self._nursery: Nursery | None = None
        self._failures = 0
        self._arrived: Arrived | None = None
        self._output = -1
        self._entering: Entering | None = None
        self._killed = False
        self._by_nurse = False

    def enter(self, output: int, arrived: Arrived, *, slowly: bool = False) -> None:
        """Put it into the container with a pipe for its output, which stays open until it has `arrived`;
        `slowly` after it `has_failed`."""
        self._output, self._arrived, self._killed = output, arrived, False
        if slowly or self._failures >= _MOST_FAILURES:
            self._go_slowly()
        elif self._nursery is not None:
            self._ask(self._nursery)
        elif not self._look():
            self._fail()

    def settle(self, seconds: float) -> None:
        """Wait until a nurse has nothing of ours any more, but no longer than that."""
        if self._nursery is not None and not self._nursery.ready:
            readable(self._nursery.fileno(), seconds)

    def is_entering(self) -> bool:
        """Whether it has not arrived."""
        return self._arrived is not None

    def pidfd(self) -> int:
        """A pidfd of the process on its way as far as it has been born, for the caller, else -1."""
        return self._entering.pidfd() if self._entering is not None else -1

    def kill(self) -> None:
        """End it on its way, wherever it is; it arrives all the same."""
        self._killed = True
        if self._entering is not None:
            self._entering.kill()
        elif self._nursery is not None:
            self._nursery.kill()

    def has_failed(self) -> bool:
        """Whether what has arrived and ended could not execute its program."""
        nursery = self._nursery
        if nursery is None or not self._by_nurse:
            return False
        try:
            while nursery.hear():
                continue
        except OSError:
            self._dismiss()
        self._failures = self._failures + 1 if nursery.failed else 0
        return nursery.failed

    def rest(self, seconds: float) -> None:
        """It is not wanted for some seconds."""
        if self._nursery is not None and (seconds > _KEPT or self._nursery.is_stale()):
            self._dismiss()

    def close(self) -> None:
        """The run is over; what is on its way arrives as something that has been killed."""
        nursery = self._nursery
        self.kill()
        if nursery is not None and readable(nursery.pidfd, _LAST_BREATH):
            self._gone(nursery)
            self._reap(nursery)

    # by a nurse

    def _look(self) -> bool:
        """Find out who its user is, which the container's files can hold up; False: for want of descriptors
        that cannot be done."""
        monitor, regular = self._monitor, self._regular
        pid = monitor.pid
        try:
            held = os.dup(monitor.pidfd)
        except OSError:
            return False

        def looked(_nothing: Any, error: Exception | None) -> None:
            self._entering = None
            try:
                if self._killed:
                    self._arrive(None, error)
                elif error is None:
                    self._ask(self._hire(held))
                elif isinstance(error, ContainerError | OSError):
                    self._fail()
                else:
                    self._arrive(None, error)
            finally:
                os.close(held)

        try:
            self._entering = monitor.door.enter(lambda _birth: regular.look(pid, held), looked)
        except OSError:
            os.close(held)
            return False
        return True

    def _hire(self, pidfd: int) -> Nursery | None:
        try:
            nursery: Nursery = self._regular.open(pidfd)
        except OSError:
            return None
        self._nursery = nursery
        self._monitor.loop.reader(nursery.fileno(), self._hear)
        self._monitor.loop.reader(nursery.pidfd, lambda: self._gone(nursery))
        return nursery

    def _ask(self, nursery: Nursery | None) -> None:
        try:
            if nursery is not None:
                nursery.ask(self._output)
                self._by_nurse = True
                return
        except OSError:
            self._dismiss()
        self._fail()

    def _hear(self) -> None:
        nursery = self._nursery
        assert nursery is not None
        try:
            nursery.hear()
        except OSError:  # others have his end; or he has ended, as they say next
            self._monitor.loop.forget(nursery.fileno())
            nursery.kill()
            return
        self._take(nursery)

    def _take(self, nursery: Nursery) -> bool:
        """Let the process arrive if it has been born."""
        pid = nursery.born() if self._arrived is not None and self._entering is None else 0
        if not pid:
            return False
        try:
            born = Born(pid)
        except OSError as error:  # for want of descriptors
            os.kill(pid, _SIGKILL)
            exits.reap(self._monitor.loop, pid)
            self._arrive(None, error)
        else:
            self._arrive(born, None)
        return True

    def _gone(self, nursery: Nursery) -> None:
        """The nurse has ended."""
        self._dismiss()
        if self._take(nursery) or self._arrived is None or self._entering is not None:
            return
        if self._killed:
            self._arrive(None, None)
        else:
            self._fail()

    def _dismiss(self) -> None:
        nursery, self._nursery = self._nursery, None
        if nursery is not None:
            nursery.kill()
            self._monitor.loop.forget(nursery.fileno())
            self._monitor.loop.reader(nursery.pidfd, lambda: self._reap(nursery))

    def _reap(self, nursery: Nursery) -> None:
        self._monitor.loop.forget(nursery.pidfd)
        nursery.reap()

    # without

    def _fail(self) -> None:
        self._failures += 1
        self._go_slowly()

    def _go_slowly(self) -> None:
        self._by_nurse = False
        null = -1

        def arrived(launched: Any, error: Exception | None) -> None:
            if null >= 0:
                os.close(null)
            self._entering = None
            self._arrive(launched, error)

        try:
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            descriptors = (null, self._output, self._output)
            self._entering = self._monitor.enter(self._process, descriptors, arrived, again=True)
        except (ContainerError, OSError) as error:
            arrived(None, error)

    def _arrive(self, launched: Any, error: Exception | None) -> None:
        """Tell whoever waits; without either of the two it was killed before it was born."""
        arrived, self._arrived = self._arrived, None
        assert arrived is not None
        if launched is None and error is None:
            error = ContainerError("killed before it was in the container")
        arrived(launched, error)
