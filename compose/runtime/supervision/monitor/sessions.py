"""Processes that clients put into a running container (``exec``).

The connection that asked for one stays: signals come on it, and in the end the exit code goes. It may end
before; then the process runs on, as under Docker.
"""

from __future__ import annotations

import os

from compose.errors import ComposeError, ContainerError
from compose.linux import process
from compose.runtime import protocol, records
from compose.runtime.supervision.monitor import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compose.linux.sockets import Socket
    from compose.runtime.protocol import Message
    from compose.runtime.supervision.monitor.door import Entering
    from compose.runtime.supervision.monitor.monitor import Monitor


class Session:
    """One such process."""

    __slots__ = ("connection", "identity", "pid", "pidfd", "started")

    def __init__(self, connection: Socket, identity: str, pid: int, started: int, pidfd: int) -> None:
        self.connection: Socket | None = connection
        self.identity = identity
        """What events call it."""
        self.pid = pid
        self.started = started
        self.pidfd = pidfd


class Sessions:
    """All of them in one container."""

    __slots__ = ("_loop", "_monitor", "_sessions")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._loop = monitor.loop
        self._sessions: list[Session] = []

    def begin(self, connection: Socket, message: Message, received: list[int]) -> None:
        """Start the process that a client asks for, and answer. Raises `ContainerError`."""
        monitor = self._monitor
        if monitor.state.get("status") == "paused":
            raise ContainerError(f"container {monitor.identity[:12]} is paused", hint="pycompose unpause")
        tty = bool(message.get("tty"))
        what = {**message["process"], "terminal": tty}
        if not tty and len(received) != 3:
            raise ContainerError("exec without a terminal needs three descriptors")
        stdio = received if not tty else [0, 0, 0]  # /dev/null; a terminal of its own takes their place
        program, *rest = what["args"]
        identity, command = os.urandom(32).hex(), f"{program} {' '.join(rest)}"  # as docker has it
        monitor.event(f"exec_create: {command}", execID=identity)
        held = [os.dup(number) for number in stdio]  # the request's are closed before it has been executed

        def arrived(launched: Any, error: Exception | None) -> None:
            for number in held:
                os.close(number)
            self._loop.forget(connection.fileno())
            if error is None:
                monitor.event(f"exec_start: {command}", execID=identity)
                self._executed(connection, identity, launched)
                return
            protocol.refuse(connection, error)
            connection.close()
            if not isinstance(error, ComposeError | OSError | ValueError):
                raise error

        try:
            entering = monitor.enter(what, held, arrived)  # type: ignore[arg-type]
        except ContainerError:
            for number in held:
                os.close(number)
            raise
        self._loop.reader(connection.fileno(), lambda: self._given_up(connection, entering))

    def _given_up(self, connection: Socket, entering: Entering) -> None:
        """The client sends a signal, or goes, before its process has been executed: it never will be."""
        self._loop.forget(connection.fileno())
        entering.kill()

    def _executed(self, connection: Socket, identity: str, launched: Any) -> None:
        started = records.start_time(launched.pid)
        session = Session(connection, identity, launched.pid, started, launched.pidfd)
        self._sessions.append(session)
        masters = [launched.master] if launched.master is not None else []
        protocol.answer(connection, masters, pid=launched.pid, start_time=started, warnings=launched.warnings)
        for master in masters:
            os.close(master)
        self._loop.reader(session.pidfd, lambda: self._ended(session))
        self._loop.reader(connection.fileno(), lambda: self._hear(session))

    def end(self) -> None:
        """The container has ended, and with it every process in it."""
        for session in list(self._sessions):
            self._ended(session)

    def _hear(self, session: Session) -> None:
        """The client sends a signal, or goes."""
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
                pass  # the process has ended, or the client sends what is no signal

    def _ended(self, session: Session) -> None:
        """Say how it ended."""
        code = exits.how_it_ended(None, session.pid, session.started, session.pidfd)
        self._sessions.remove(session)
        self._loop.forget(session.pidfd)
        os.close(session.pidfd)
        if session.connection is not None:
            self._loop.forget(session.connection.fileno())
            protocol.answer(session.connection, exit_code=code)
            session.connection.close()
        exits.reap(self._loop, session.pid)
        exit_code = "unknown" if code is None else code
        self._monitor.event("exec_die", execID=session.identity, exitCode=exit_code)
