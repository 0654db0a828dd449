"""Between ``create`` and ``start`` of the OCI runtime specification: process 1 waits in front of its program.

The creating command hears "ready" on the report socket and goes. The child then accepts one connection on a
socket that it was born with; from there on that is its report socket, which execve closes. Nothing of this
has a name inside the container.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os

from compose.linux import process, signals, sockets
from compose.runtime.container.steps import NOTHING, READY, RECORD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from compose.linux.sockets import Socket
    from compose.runtime.container.steps import Progress

SOCKET = "start.sock"
WAITING = "pc:created"
"""What a process is called (/proc/PID/comm) that waits; its program's name stands there afterwards."""


_ENDING = (1, 2, 3, 10, 12, 14, 15)  # HUP, INT, QUIT, USR1, USR2, ALRM, TERM


class Gate:
    """The listening socket of a child."""

    __slots__ = ("_listener",)

    def __init__(self, listener: Socket) -> None:
        self._listener = listener

    def fileno(self) -> int:
        """The descriptor that must stay open until `wait`."""
        return self._listener.fileno()

    def move(self, descriptor: int) -> None:
        """The listener has been moved there."""
        self._listener.detach()
        self._listener = sockets.adopt(descriptor)

    def wait(self, progress: Progress) -> None:
        """Say that everything is ready; return when somebody starts the container.

        A signal that ends programs ends it here as well: without a handler process 1 would never get it.
        """
        process.set_name(WAITING)
        for number in _ENDING:
            _signal.signal(number, _end)
        signals.set_mask()
        os.write(progress.channel, RECORD.pack(NOTHING, READY, 0, 0))
        connection, _address = self._listener._accept()  # type: ignore[attr-defined]
        signals.block_all()
        for number in _ENDING:
            _signal.signal(number, _signal.SIG_DFL)
        os.dup2(connection, progress.channel, inheritable=False)
        os.close(connection)
        self._listener.close()


def _end(number: int, _frame: object) -> NoReturn:
    os._exit(128 + number)
