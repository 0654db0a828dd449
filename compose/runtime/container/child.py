"""A process that is put into a container, as its creator sees it: forked, and heard until its program runs.

    fork_and_wait    process 1 (launch.py) and those that enter later (enter.py)
    listen           one that has waited at its gate, by whoever starts it

What the child does meanwhile is none of this module's business. It is believed no more than birth.py says:
what comes over the report socket may be from somebody in the container who holds its descriptor.
"""

from __future__ import annotations

import _socket
import os

from compose.linux import signals
from compose.linux.vfork import forking
from compose.runtime.container import birth as births
from compose.runtime.container import steps
from compose.runtime.container.steps import RECORD, LaunchError, Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from compose.linux.cradle import Cradle

_MOST_RECORDS = 100
"""More than any child has to say; one that others have in their hands may not stop."""


class Stdio:
    """The descriptors that become 0, 1 and 2; not used when the process has a terminal."""

    __slots__ = ("stderr", "stdin", "stdout")

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


class Launched:
    """A process that runs in its container.

    `pid` as the caller sees it, `pidfd`, `master` (the terminal's side to keep, None without a terminal) and
    `warnings`, one line each. Both descriptors belong to the caller.
    """

    __slots__ = ("master", "pid", "pidfd", "warnings")

    def __init__(self, pid: int, pidfd: int, master: int | None, warnings: list[str]) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.master = master
        self.warnings = warnings


def fork_and_wait(
    child: Callable[[Progress], NoReturn],
    items: dict[int, Sequence[str]],
    birth: births.Birth | None = None,
    *,
    cradle: Cradle | None = None,
    terminal: bool = False,
) -> Launched:
    """Fork, run `child`, and wait until it has exec'd or failed; `items` are the names for messages.

    With a `cradle` the child goes on in it as another process, which is the one that is launched. With
    `terminal` it sends a descriptor.
    """
    with forking:  # until the child's socket is closed here: another thread's child would keep it open
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        mask = signals.block_all()
        try:
            pid = os.fork()
            if pid == 0:
                _run_child(child, Progress(theirs.fileno()))
        except BaseException:
            ours.close()
            raise
        finally:
            signals.set_mask(mask)
            theirs.close()
    report = _Report(ours, items, terminal=terminal)
    try:
        born = cradle.born if cradle is not None else None
        pid, pidfd = births.wait(pid, ours.fileno(), report.hear, born, birth or births.Birth())
    except BaseException:
        report.close()
        raise
    finally:
        ours.close()
    return Launched(pid, pidfd, report.master, report.warnings)


def _run_child(child: Callable[[Progress], NoReturn], progress: Progress) -> NoReturn:
    try:
        signals.default_all()
        child(progress)
    except BaseException as error:
        try:
            progress.fail(error)
        finally:
            os._exit(127)
    finally:
        os._exit(127)


def listen(channel: _socket.socket, items: dict[int, Sequence[str]]) -> None:
    """Wait until a child that leaves its gate has exec'd. Raises LaunchError."""
    report = _Report(channel, items, terminal=False)
    while report.hear():
        pass


class _Report:
    """What a child says until execve closes its end of the socket, or it waits at its gate."""

    __slots__ = ("_channel", "_items", "_records", "_terminal", "master", "warnings")

    def __init__(self, channel: _socket.socket, items: dict[int, Sequence[str]], *, terminal: bool) -> None:
        self._channel = channel
        self._items = items
        self._terminal = terminal
        self._records = 0
        self.master: int | None = None
        self.warnings: list[str] = []

    def hear(self) -> bool:
        """Take the next record, and say whether more may come; raises LaunchError for a failure."""
        space = _socket.CMSG_SPACE(4)
        data, ancillary, _, _ = self._channel.recvmsg(RECORD.size, space, _socket.MSG_CMSG_CLOEXEC)
        for _, _, content in ancillary:
            self._take(int.from_bytes(content[:4], "little"))
        if not data:
            return False
        self._records += 1
        if len(data) != RECORD.size or self._records > _MOST_RECORDS:
            raise LaunchError(steps.EXEC, steps.INTERNAL, steps.words(steps.EXEC, steps.INTERNAL, 0, ""))
        step, number, index, line = RECORD.unpack(data)
        if step == steps.NOTHING:
            return bool(number != steps.READY)  # else the terminal's master
        text = steps.words(abs(step), number, line, steps.item_of(self._items, abs(step), index))
        if step > 0:
            raise LaunchError(step, number, text)
        self.warnings.append(text)
        return True

    def _take(self, descriptor: int) -> None:
        """The first one is sent before anybody else can have the child in his hands."""
        if self._terminal and self.master is None:
            self.master = descriptor
        else:
            os.close(descriptor)

    def close(self) -> None:
        """Nobody wants it."""
        if self.master is not None:
            os.close(self.master)
