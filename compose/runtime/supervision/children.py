"""Child processes of keeper and monitor: reaping, ending, cgroup."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import time

from compose.linux import process
from compose.linux.files import readable
from compose.linux.process import exit_code
from compose.runtime import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.loop import Loop

_MOST_REMEMBERED = 1024
_LAST_BREATH = 2.0
"""Seconds until a control group must be empty whose processes were killed."""
_LEAVING = 10.0
"""Seconds that whoever was killed in a control group may take to leave it, on a machine that is busy."""
_PAUSE = 0.005
_SIGKILL = 9
_SIGCHLD = 17


class Reaper:
    """Waits for every child, also for those that came to us because their parent died, and remembers how they
    ended: by number and start time, for a number may come again."""

    __slots__ = ("_codes", "_loop", "_read", "_write", "on_exit")

    def __init__(self, loop: Loop) -> None:
        self._codes: dict[tuple[int, int], int] = {}
        self._loop = loop
        self.on_exit: Callable[[int, int, int], None] = _ignore
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.signal(_SIGCHLD, _ignore)
        _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        loop.reader(self._read, self._reap)

    def status(self, pid: int, started: int) -> int | None:
        """The exit code of a process that has ended; None when it has not or was never ours."""
        self._reap()
        return self._codes.get((pid, started))

    def close(self) -> None:
        """Reap no more: we are a forked process with children of its own."""
        _signal.set_wakeup_fd(-1)
        _signal.signal(_SIGCHLD, _signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)

    def _reap(self) -> None:
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            started = records.start_time(found.si_pid)
            _pid, status = os.waitpid(found.si_pid, 0)
            code = exit_code(status)
            while len(self._codes) >= _MOST_REMEMBERED:
                del self._codes[next(iter(self._codes))]
            self._codes[found.si_pid, started] = code
            self.on_exit(found.si_pid, started, code)


def _ignore(*_arguments: object) -> None:
    """A handler that only interrupts."""


def end_child(pid: int) -> None:
    """Kill a child and wait for it; a process that is not our child any more is left alone."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        end_process(pid)
        os.waitid(os.P_PID, pid, os.WEXITED)
    except ChildProcessError:
        return


def end_process(pid: int) -> None:
    """Kill a process that may be anybody's child, and wait until it has ended."""
    try:
        pidfd = process.pidfd_open(pid)
    except OSError:  # it has ended
        return
    try:
        process.pidfd_send_signal(pidfd, _SIGKILL)
        readable(pidfd, _LAST_BREATH)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)


def empty_cgroup(cgroup: Cgroup, seconds: float) -> None:
    """Kill what is in a control group until nothing is, or the time is over. Raises `OSError`,
    `ContainerError`."""
    deadline = time.monotonic() + seconds
    while cgroup.pids():
        cgroup.kill()
        if time.monotonic() > deadline:
            return
        time.sleep(_PAUSE)


def remove_cgroup(cgroup: Cgroup) -> None:
    """Remove a control group; who has ended in it may take a moment to leave it. Raises `OSError`."""
    deadline = time.monotonic() + _LEAVING
    while True:
        try:
            cgroup.remove()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def remove_file(path: str) -> None:
    """Remove a file that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
