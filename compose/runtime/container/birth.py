"""Waiting for a process that is put into a container, until it has executed its program.

It may be born twice (linux/cradle.py): what prepares everything is a child of ours outside of the container's
pid namespace, where nobody else is; what executes the program is born in there as the last step, also as a
child of ours, and has nothing by then that the container has not. From there on nothing that it says is
believed but that it has failed, and it may never say anything.
"""

from __future__ import annotations

import _thread
import os
import select

from compose.linux.files import readable
from compose.linux.process import pidfd_open, pidfd_send_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGKILL = 9
_LAST_BREATH = 1.0
"""Seconds within which a killed child ends, unless the kernel holds it up."""

not_reaped: list[int] = []
"""Children that were killed and could not be waited for yet: somebody in the container traces them."""


class Birth:
    """Where a child can be found while somebody waits for it in another thread."""

    __slots__ = ("_born", "_lock", "_pidfd")

    def __init__(self) -> None:
        self._lock = _thread.allocate_lock()
        self._pidfd = -1
        self._born = False

    def at(self, pidfd: int, *, born: bool = True) -> None:
        """It can be found by this descriptor from now on, which stays open until the next one; -1: nowhere.
        `born` is whether it is what will execute the program."""
        with self._lock:
            self._pidfd, self._born = pidfd, born

    def kill(self) -> None:
        """End it, if it has been born and has not ended."""
        with self._lock:
            if self._pidfd >= 0:
                try:
                    pidfd_send_signal(self._pidfd, _SIGKILL)
                except ProcessLookupError:
                    return

    def copy(self) -> int:
        """A copy of the pidfd of what will execute the program, for the caller; -1 while there is none."""
        with self._lock:
            return os.dup(self._pidfd) if self._born and self._pidfd >= 0 else -1


def wait(
    first: int, channel: int, hear: Callable[[], bool], born: Callable[[], int] | None, birth: Birth
) -> tuple[int, int]:
    """Wait until a child has executed its program or ended; its process id and pidfd, not reaped.

    `hear` is called when something can be read from `channel`, and says whether more is to come; it raises
    what the child reports. With `born` the child `first` is reaped when it has ended, and then the one is
    waited for whose id `born` gives; 0: there is none. Whatever is raised, no child is left.
    """
    pid, pidfd = first, pidfd_open(first)
    birth.at(pidfd, born=born is None)
    listening = True
    try:
        while listening or born is not None:
            heard, ended = _poll(channel if listening else -1, pidfd)
            if heard:
                listening = hear()
            elif ended:
                number = born() if born is not None else 0
                born = None
                if not number:  # it was killed on its way
                    break
                os.waitpid(pid, 0)
                following = pidfd_open(number)
                birth.at(following)
                os.close(pidfd)
                pid, pidfd = number, following
    except BaseException:
        birth.at(-1)
        end(pid, pidfd)
        if born is not None:
            _end_born(born)
        raise
    return pid, pidfd


def _poll(channel: int, pidfd: int) -> tuple[bool, bool]:
    poll = select.poll()
    if channel >= 0:
        poll.register(channel, select.POLLIN)
    poll.register(pidfd, select.POLLIN)
    found = {descriptor for descriptor, _ in poll.poll()}
    return channel in found, pidfd in found


def end(pid: int, pidfd: int) -> None:
    """End a child that has failed; its container may have stopped it on its way out, or trace it."""
    try:
        pidfd_send_signal(pidfd, _SIGKILL)
        readable(pidfd, _LAST_BREATH)
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            not_reaped.append(pid)
    except (ChildProcessError, ProcessLookupError):  # somebody's handler was quicker
        pass
    finally:
        os.close(pidfd)


def _end_born(born: Callable[[], int]) -> None:
    try:
        number = born()
    except OSError:  # it was not born
        return
    if number:
        end(number, pidfd_open(number))
