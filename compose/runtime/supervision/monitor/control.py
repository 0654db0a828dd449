"""What clients ask of a monitor: stop, kill, pause, wait, exec, attach.

A request comes on a connection of its own. ``stop``, ``wait`` and ``exec`` are answered when the thing has
happened; a connection that ends before means that the monitor died, and the client asks its successor again.
"""

from __future__ import annotations

import os

from compose.errors import ComposeError, ContainerError
from compose.linux import sockets
from compose.runtime import protocol
from compose.runtime.supervision.monitor.sessions import Sessions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.linux.sockets import Socket
    from compose.runtime.protocol import Message
    from compose.runtime.supervision.monitor.monitor import Monitor


class Control:
    """The listening socket of a monitor, and everybody who waits for something."""

    def __init__(self, monitor: Monitor) -> None:
        """Take requests, at the socket of a predecessor if there is one. Raises `OSError`."""
        self._monitor = monitor
        self._loop = monitor.loop
        self._waiting: list[Socket] = []
        self._stopping: list[Socket] = []
        self._restarting: list[Socket] = []
        self._sessions = Sessions(monitor)
        self._directory = monitor.paths.container_run(monitor.identity)
        self._listener: Socket | None = None
        held = monitor.link.own("socket")
        self._listen(sockets.adopt(os.dup(held[0])) if held else self._make_listener())
        self.be_found()

    def be_found(self) -> None:
        """Listen anew where the run directory was deleted under us."""
        if self._listener is None or os.path.exists(f"{self._directory}/{protocol.MONITOR_SOCKET}"):
            return
        try:
            self._listen(self._make_listener())
        except OSError:  # the next keeper's death is another opportunity
            return

    def _make_listener(self) -> Socket:
        """A socket where clients look for us; the keeper holds it too. Raises `OSError`."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        listener = sockets.listen(self._directory, protocol.MONITOR_SOCKET)
        self._monitor.link.release("socket")
        self._monitor.link.put_own({"socket": [os.dup(listener.fileno())]})
        return listener

    def _listen(self, listener: Socket) -> None:
        """Take requests from this one, and from no former one."""
        self.close()
        self._listener = listener
        listener.setblocking(False)
        self._loop.reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Take no more requests."""
        if self._listener is not None:
            self._loop.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def answer_waiting(self) -> None:
        """Tell everybody that the container has ended for good."""
        self._sessions.end()
        self.refuse_restarting(ContainerError("the container was stopped while it was restarted"))
        for connection in (*self._waiting, *self._stopping):
            protocol.answer(connection)
            connection.close()
        self._waiting.clear()
        self._stopping.clear()

    def answer_restarting(self, warnings: list[str]) -> None:
        """Tell those who wanted the container restarted that it runs again."""
        for connection in self._restarting:
            protocol.answer(connection, warnings=warnings)
            connection.close()
        self._restarting.clear()

    def refuse_restarting(self, error: Exception) -> None:
        """Tell those who wanted the container restarted why it does not run."""
        for connection in self._restarting:
            protocol.refuse(connection, error)
            connection.close()
        self._restarting.clear()

    def give_up_stopping(self, error: ContainerError) -> None:
        """Tell those who want the container stopped, or restarted, why it is not; it may end later."""
        self.refuse_restarting(error)
        for connection in self._stopping:
            protocol.refuse(connection, error)
            connection.close()
        self._stopping.clear()

    def _accept(self) -> None:
        connection = sockets.accept(self._listener) if self._listener is not None else None
        if connection is None:
            return
        connection.setblocking(True)
        self._loop.reader(connection.fileno(), lambda: self._serve(connection))

    def _serve(self, connection: Socket) -> None:
        self._loop.forget(connection.fileno())
        received: list[int] = []
        kept = False
        try:
            message, received = protocol.receive(connection)
            if message is not None:
                protocol.check_version(message)
                kept = self._dispatch(connection, message, received)
        except (ComposeError, OSError, ValueError, KeyError, TypeError) as error:
            protocol.refuse(connection, error)
        finally:
            for number in received:
                os.close(number)
            if not kept:
                connection.close()

    def _dispatch(self, connection: Socket, message: Message, received: list[int]) -> bool:
        """Act on one request; whether the connection is still needed."""
        monitor = self._monitor
        match message.get("op"):
            case "stop":
                self._stopping.append(connection)
                try:
                    monitor.ending.stop(
                        message.get("signal"), message.get("grace"), resume=bool(message.get("resume"))
                    )
                except ComposeError:
                    self._stopping.remove(connection)
                    raise
                return True
            case "restart":
                if monitor.runs_since(*message.get("run") or (0, 0)):  # a successor that is asked again
                    protocol.answer(connection, warnings=[])
                    return False
                self._restarting.append(connection)
                monitor.restarter.by_hand(message.get("grace"))
                return True
            case "wait":
                self._waiting.append(connection)
                return True
            case "exec":
                self._sessions.begin(connection, message, received)
                return True
            case "ping":
                protocol.answer(connection)
            case "kill":
                monitor.ending.kill(message["signal"])
                protocol.answer(connection)
            case "pause" | "unpause":
                self._pause(paused=message["op"] == "pause")
                protocol.answer(connection)
            case "hold":
                self._pause(paused=True)
                protocol.answer(connection)
                self._loop.reader(connection.fileno(), lambda: self._let_go(connection))
                return True
            case "attach":
                monitor.attach(connection)
                return True
            case "end_input":
                monitor.link.release("stdin")
                protocol.answer(connection)
            case other:
                raise ContainerError(f"the monitor does not know the request {other!r}")
        return False

    def _pause(self, *, paused: bool) -> None:
        status = self._monitor.state.get("status")
        if status != ("running" if paused else "paused"):
            raise ContainerError(f"container {self._monitor.identity[:12]} is {status}")
        self._monitor.pause(paused=paused)

    def _let_go(self, connection: Socket) -> None:
        """Whoever wanted the container paused is done with it, or has died."""
        self._loop.forget(connection.fileno())
        connection.close()
        if self._monitor.state.get("status") == "paused":
            self._monitor.pause(paused=False)
