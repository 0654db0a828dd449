"""Everybody who is attached to a container, as its monitor sees them: the other side of attachment.py."""

from __future__ import annotations

from compose.runtime import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.linux.sockets import Socket
    from compose.runtime.loop import Loop
    from compose.runtime.output.segments import Output


class Attachments:
    """See the module."""

    __slots__ = ("_connections", "_loop")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._connections: list[Socket] = []

    def add(self, connection: Socket, output: Output, writers: list[int], *, terminal: bool) -> None:
        """Answer a client, and keep it until it goes or the run ends."""
        number, offset = output.place()
        protocol.answer(connection, writers, number=number, offset=offset, terminal=terminal)
        connection.setblocking(False)
        self._connections.append(connection)
        self._loop.reader(connection.fileno(), lambda: self._remove(connection))

    def wake(self) -> None:
        """Tell them that there is new output; who has not heard the last time does not need this one."""
        for connection in self._connections:
            protocol.answer(connection)

    def end(self, code: int | None) -> None:
        """Tell them how the run has ended, all output of which is kept by now."""
        for connection in list(self._connections):
            protocol.answer(connection, ended=True, exit_code=code)
            self._remove(connection)

    def _remove(self, connection: Socket) -> None:
        self._loop.forget(connection.fileno())
        self._connections.remove(connection)
        connection.close()
