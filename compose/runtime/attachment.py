"""Being attached to process 1 of a container: what it writes, what writes to it, and its end.

The bytes do not pass through the monitor: a client reads output where it is kept, and writes to the pipe or
terminal that it gets a copy of. The monitor tells it that there is something new, and how the run has ended
(output/attachments.py). So a client that does not read hurts nobody, any number of them see the same, and
when a monitor dies, each asks its successor and goes on with the next byte.
"""

from __future__ import annotations

import os

from compose.errors import ContainerError
from compose.linux.files import readable
from compose.runtime import protocol
from compose.runtime.output.pieces import Pieces
from compose.runtime.records import read_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.linux.sockets import Socket
    from compose.runtime.client import Keeper

_AS_LONG_AS_IT_TAKES = 1e9
"""Seconds. Not negative: then who does not hear the signal would be waited for too (monitor/stop.py)."""


class Attachment:
    """`writer` leads to process 1: its terminal's master, its input's pipe, or None."""

    def __init__(self, keeper: Keeper, identity: str, *, pieces: Pieces | None = None) -> None:
        """From where `pieces` are in the kept output; else from now on.

        A container that runs no more can be attached to from such a place only. Raises `ContainerError`.
        """
        self._keeper = keeper
        self._identity = identity
        self._log = f"{keeper.paths.container(identity)}/log"
        self._connection: Socket | None = None
        self._pieces = pieces
        from_now = pieces is None
        self.writer: int | None = None
        self.terminal = False
        self.ended = False
        self.exit_code: int | None = None
        """None while it runs, and when it could not be learnt."""
        self._connect()
        if self.ended and from_now:
            raise ContainerError(f"container {identity[:12]} is not running")

    def _connect(self) -> None:
        while True:
            connection = self._keeper.connection(self._identity)
            if connection is None:
                self.ended = True
                self.exit_code = read_state(self._keeper.paths, self._identity).get("exit_code")
                return
            try:
                protocol.request(connection, "attach")
                message, received = protocol.receive(connection)
                answer = protocol.check(message)
            except ConnectionError:
                connection.close()
                continue
            except BaseException:
                connection.close()
                raise
            break
        self._connection = connection
        self.terminal = bool(answer["terminal"])
        self._set_writer(received[0] if received else None)
        if self._pieces is None:
            self._pieces = Pieces(self._log, answer["number"], answer["offset"])

    def _set_writer(self, writer: int | None) -> None:
        """A successor's copy leads to the same pipe: whoever uses the number need not know."""
        if writer is None or self.writer is None:
            self.writer = writer
        else:
            os.dup2(writer, self.writer, inheritable=False)
            os.close(writer)

    def fileno(self) -> int:
        """Becomes readable when `hear` has something to hear."""
        return -1 if self._connection is None else self._connection.fileno()

    def hear(self) -> bool:
        """Take what the monitor says, without waiting for it; whether the run has ended."""
        while self._connection is not None and readable(self._connection.fileno()):
            try:
                message = protocol.receive(self._connection)[0]
            except OSError:
                message = None
            if message is None:  # the monitor has died, or nobody needs it any more
                self._disconnect()
                self._connect()
            elif message.get("ended"):
                self.ended = True
                self.exit_code = message.get("exit_code")
                self._disconnect()
        return self.ended

    def read(self) -> Iterator[tuple[int, bytes]]:
        """What process 1 has written since the last call: stream (0 is output, 1 is error) and bytes."""
        if self._pieces is not None:
            yield from self._pieces.read()

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size in characters."""
        if self.terminal and self.writer is not None:
            from compose.linux.terminal import set_window_size

            set_window_size(self.writer, rows, columns)

    def own_input(self) -> None:
        """Be the only one who can write to process 1: its input ends with `end_input`, or with us."""
        if not self.terminal:
            self._keeper.end_input(self._identity)

    def end_input(self) -> None:
        """Close the standard input of process 1, for everybody: it reads the end of file."""
        if not self.terminal:
            self._keeper.end_input(self._identity)
            if self.writer is not None:
                os.close(self.writer)
                self.writer = None

    def kill(self, number: int) -> None:
        """Send a signal to process 1; that it has ended is no error."""
        try:
            self._keeper.kill(self._identity, number)
        except ContainerError:
            return

    def interrupt(self, number: int) -> None:
        """Send process 1 a signal that is to end it, and wait for that. Where it would not get the signal,
        because it neither catches nor blocks it, it is killed."""
        try:
            self._keeper.stop(self._identity, number, grace=_AS_LONG_AS_IT_TAKES)
        except ContainerError:
            return

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Detach; the container runs on. `writer` stays open: a thread may be writing to it."""
        self._disconnect()
        if self._pieces is not None:
            self._pieces.close()
