"""Runs a container's health probes, one at a time, and tells when its health changes."""

from __future__ import annotations

import os
import time

from compose.errors import ContainerError
from compose.linux.files import readable
from compose.runtime.supervision.monitor import exits, health

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from compose.runtime.loop import Loop, Timer
    from compose.runtime.spec import Healthcheck, Process
    from compose.runtime.supervision.monitor.repeated import Repeated

_SIGKILL = 9
_LAST_BREATH = 1.0
_SHORT = 0.25
"""Seconds after which the keeper holds a probe's pidfd as well."""


def process_of(check: Healthcheck, process: Process) -> Process:
    """What a probe executes; `process` is the container's own, whose user, environment and directory it
    gets."""
    arguments = health.command(check["test"]) or ["true"]
    return {**process, "args": arguments, "terminal": False, "diesWithMonitor": True}


class Prober:
    """The health check of one run of a container."""

    def __init__(
        self,
        loop: Loop,
        check: Healthcheck,
        probe: Repeated,
        started_at: int,
        changed: Callable[[], None],
        guard: Callable[[int | None], None],
    ) -> None:
        """`probe` is put into the container; `changed` is called after it has ended; `guard` gets a pidfd of
        a probe that takes its time, to keep, and None after it, so that a successor can end it."""
        self.machine = health.HealthMachine(check)
        self._probe = probe
        self._loop = loop
        self._started_at = started_at
        self._changed = changed
        self._guard = guard
        self._timer: Timer | None = None
        self._guarding: Timer | None = None
        self._guarded = False
        self._ended = False
        self._pid = 0
        self._pidfd = self._pipe = -1
        self._output = b""
        self._began = 0.0
        self._timed_out = False
        self._paused = False

    def begin(self) -> None:
        """Plan the next probe."""
        if self._timer is None and not self._is_at_it() and not self._paused:
            distance = self.machine.next_probe(self._now())
            self._probe.rest(distance)
            self._timer = self._loop.after(distance, self._start)

    def settle(self, seconds: float) -> None:
        """Wait until who lets probes be born has nothing of ours, but no longer than that."""
        self._probe.settle(seconds)

    def pause(self, *, paused: bool) -> None:
        """Run no probes for a while."""
        self._paused = paused
        if paused and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif not paused and self._is_at_it():
            self._timer = self._loop.after(self.machine.timeout, self._time_out)
        elif not paused:
            self.begin()

    def end(self) -> None:
        """The container has ended, and every process in it."""
        self._paused = self._ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._probe.close()
        if self._pidfd >= 0:
            self._kill()
            readable(self._pidfd, _LAST_BREATH)
            exits.reap(self._loop, self._pid)
        if not self._probe.is_entering():
            self._let_go()

    def _is_at_it(self) -> bool:
        return self._probe.is_entering() or self._pidfd >= 0

    def _now(self) -> float:
        return max(0.0, (time.time_ns() - self._started_at) / 1e9)

    def _start(self) -> None:
        self._timer = None
        self._began = self._now()
        self.machine.begin(self._began)
        self._enter(slowly=False)

    def _enter(self, *, slowly: bool) -> None:
        self._output, self._timed_out = b"", False
        self._pipe, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        self._timer = self._loop.after(self.machine.timeout, self._time_out)
        self._guarding = self._loop.after(_SHORT, self._begin_guarding)

        def arrived(launched: Any, error: Exception | None) -> None:
            os.close(write)
            self._arrived(launched, error)

        self._probe.enter(write, arrived, slowly=slowly)

    def _arrived(self, launched: Any, error: Exception | None) -> None:
        """The probe has been executed, or could not be, or was killed on its way."""
        if error is not None:
            self._let_go()
            if not isinstance(error, ContainerError | OSError):
                raise error
            self._finish(health.TIMED_OUT, self._lateness() if self._timed_out else str(error))
            return
        self._pid, self._pidfd = launched.pid, launched.pidfd
        self._loop.reader(self._pipe, self._read)
        self._loop.reader(self._pidfd, self._exited)
        if self._timed_out or self._ended:
            self._kill()

    def _begin_guarding(self) -> None:
        """Most probes have ended by now, and cost nobody else anything."""
        self._guarding = None
        pidfd = self._probe.pidfd() if self._probe.is_entering() else os.dup(self._pidfd)
        if pidfd < 0:  # it has not been born yet
            self._guarding = self._loop.after(_SHORT, self._begin_guarding)
            return
        self._guarded = True
        self._guard(pidfd)

    def _read(self) -> None:
        """Keep the first bytes of the probe's output, and read on, so that it never waits for us."""
        try:
            data = os.read(self._pipe, 65536)
        except BlockingIOError:
            return
        if not data:
            self._loop.forget(self._pipe)
        if len(self._output) < health.MOST_OUTPUT:
            self._output += data[: health.MOST_OUTPUT - len(self._output)]

    def _time_out(self) -> None:
        self._timer = None
        self._timed_out = True
        self._kill()

    def _kill(self) -> None:
        """End the probe and what it has started: its process group, which is named by a child of ours. Who
        has been stopped ends as well, wherever that was."""
        if self._probe.is_entering():
            self._probe.kill()
            return
        for end in (os.killpg, os.kill):  # it is killed even before it leads a group
            try:
                end(self._pid, _SIGKILL)
            except ProcessLookupError:
                continue

    def _exited(self) -> None:
        code = exits.how_it_ended(None, self._pid, 0, self._pidfd)
        exits.reap(self._loop, self._pid)
        self._read()
        self._let_go()
        output = self._output.decode("utf-8", "replace")
        if self._timed_out:
            self._finish(health.TIMED_OUT, self._lateness(output))
        elif self._probe.has_failed() and not self._ended:
            self._enter(slowly=True)
        else:
            self._finish(128 + _SIGKILL if code is None else code, output)

    def _lateness(self, output: str = "") -> str:
        limit = f"health check exceeded its timeout of {self.machine.timeout:g} s"
        return f"{limit}: {output}" if output else limit

    def _let_go(self) -> None:
        for timer in (self._timer, self._guarding):
            if timer is not None:
                timer.cancel()
        self._timer = self._guarding = None
        for descriptor in (self._pidfd, self._pipe):
            if descriptor >= 0:
                self._loop.forget(descriptor)
                os.close(descriptor)
        self._pidfd = self._pipe = -1
        if self._guarded:
            self._guarded = False
            self._guard(None)

    def _finish(self, code: int, output: str) -> None:
        if self._ended:
            return
        self.machine.end(self._began, self._now(), code, output, self._started_at)
        self._changed()
        self.begin()
