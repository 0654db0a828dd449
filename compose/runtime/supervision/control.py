"""What clients ask of a monitor: stop, kill, pause, wait, exec, attach.

A request comes on a connection of its own. ``stop``, ``wait`` and ``exec`` are answered when the thing has
happened; a connection that ends before means that the monitor died, and the client asks its successor again.
"""

from __future__ import annotations

import os

from compose.errors import ComposeError, ContainerError
from compose.linux import process, sockets
from compose.runtime import protocol, records
from compose.runtime.supervision import adopt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.linux.sockets import Socket
    from compose.runtime.protocol import Message
    from compose.runtime.supervision.monitor import Monitor


class Session:
    """A process that a client started in the container."""

    __slots__ = ("connection", "identity", "pid", "pidfd")

    def __init__(self, connection: Socket, identity: str, pid: int, pidfd: int) -> None:
        self.connection: Socket | None = connection
        self.identity = identity
        """What events call it."""
        self.pid = pid
        self.pidfd = pidfd


class Control:
    """The listening socket of a monitor, and everybody who waits for something."""

    def __init__(self, monitor: Monitor, listener: Socket) -> None:
        self._monitor = monitor
        self._loop = monitor.loop
        self._waiting: list[Socket] = []
        self._stopping: list[Socket] = []
        self._restarting: list[Socket] = []
        self._sessions: list[Session] = []
        self._listener: Socket | None = None
        self.listen(listener)

    def listen(self, listener: Socket) -> None:
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
        for session in list(self._sessions):
            self._session_ended(session)
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
                    monitor.stop(
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
                monitor.restart(message.get("grace"))
                return True
            case "wait":
                self._waiting.append(connection)
                return True
            case "exec":
                self._exec(connection, message, received)
                return True
            case "ping":
                protocol.answer(connection)
            case "kill":
                monitor.kill(message["signal"])
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

    # exec ---------------------------------------------------------------------------------------------------

    def _exec(self, connection: Socket, message: Message, received: list[int]) -> None:
        monitor = self._monitor
        if monitor.state.get("status") == "paused":
            raise ContainerError(f"container {monitor.identity[:12]} is paused", hint="pycompose unpause")
        tty = bool(message.get("tty"))
        what = {**message["process"], "terminal": tty}
        if not tty and len(received) != 3:
            raise ContainerError("exec without a terminal needs three descriptors")
        stdio = received if not tty else [0, 0, 0]
        program, *rest = what["args"]
        identity, command = os.urandom(32).hex(), f"{program} {' '.join(rest)}"  # as docker has it
        monitor.event(f"exec_create: {command}", execID=identity)
        launched = monitor.enter(what, *stdio)  # type: ignore[arg-type]
        monitor.event(f"exec_start: {command}", execID=identity)
        session = Session(connection, identity, launched.pid, launched.pidfd)
        self._sessions.append(session)
        masters = [launched.master] if launched.master is not None else []
        started = records.start_time(launched.pid)
        protocol.answer(connection, masters, pid=launched.pid, start_time=started, warnings=launched.warnings)
        for master in masters:
            os.close(master)
        self._loop.reader(session.pidfd, lambda: self._session_ended(session))
        self._loop.reader(connection.fileno(), lambda: self._hear(session))

    def _hear(self, session: Session) -> None:
        """The client sends a signal, or goes; then the process runs on, as under Docker."""
        assert session.connection is not None
        try:
            message, received = protocol.receive(session.connection)
        except (OSError, ValueError):
            message, received = None, []
        for number in received:
            os.close(number)
        if message is None:
            self._loop.forget(session.connection.fileno())
            session.connection.close()
            session.connection = None
        elif message.get("op") == "signal":
            try:
                process.pidfd_send_signal(session.pidfd, int(message["signal"]))
            except (OSError, KeyError, TypeError, ValueError):
                pass

    def _session_ended(self, session: Session) -> None:
        """Say how it ended; at the container's end, every process in it has."""
        code = adopt.peek(session.pid)
        self._sessions.remove(session)
        self._loop.forget(session.pidfd)
        os.close(session.pidfd)
        if session.connection is not None:
            self._loop.forget(session.connection.fileno())
            protocol.answer(session.connection, exit_code=code)
            session.connection.close()
        adopt.reap(session.pid)
        exit_code = "unknown" if code is None else code
        self._monitor.event("exec_die", execID=session.identity, exitCode=exit_code)
