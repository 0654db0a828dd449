"""The keeper: one process a project that forks monitors and netd, and holds what must outlive them.

It is executed by `spawn`, on an interpreter without site-packages. It parses nothing but requests and decides
nothing:

* it forks a monitor for every container that is started, from its own preloaded image;
* it holds descriptors under names (helpers.py);
* it is child subreaper, so that the exit code of a container whose monitor died is here to be asked for;
* it replaces a monitor or netd that died, unless the project is stopping; monitors that were killed together
  with its predecessor too (orphans.py).

    keeper.sock    SOCK_SEQPACKET, one request a connection (protocol.py); only for this user
    keeper.json    {version, pid, start_time, boot_id, stopping, netd, isolation}
    errors.log     tracebacks of helpers, which there should never be
"""

from __future__ import annotations

import gc
import os
import sys

from compose.errors import ContainerError, StateError
from compose.linux import process, sockets
from compose.runtime import oom, protocol, records
from compose.runtime.container.reexec import forget_environment
from compose.runtime.loop import Loop
from compose.runtime.supervision import children, orphans
from compose.runtime.supervision.complaints import complain
from compose.runtime.supervision.helpers import Helpers, Settings, close_all
from compose.runtime.supervision.spawn import KEEPER_FILE, remove_records
from compose.state.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from compose.linux.sockets import Socket
    from compose.runtime.protocol import Message


class Keeper:
    """The process: it serves the requests of clients, and has its `Helpers` do the rest."""

    def __init__(self, options: dict[str, Any], settings: Settings) -> None:
        self.settings = settings
        self.isolation_module: str = options["isolation"]
        self.listener = sockets.adopt(options["socket"])
        self.loop = Loop()
        self.reaper = children.Reaper(self.loop)
        self.helpers = Helpers(
            settings, self.loop, self.reaper, self._let_go, stopping=bool(options["stopping"])
        )
        self._directory = settings.paths.project_run(settings.project)
        self._waiting: dict[tuple[int, int], list[Socket]] = {}

    # life ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `shutdown`."""
        self.listener.setblocking(False)
        self.loop.reader(self.listener.fileno(), self._accept)
        self.reaper.on_exit = self._tell_waiting
        if not self.helpers.stopping:
            for identity in orphans.of_project(self.settings.paths, self.settings.project):
                self.helpers.adopt(identity)
        self.loop.run()

    def record(self) -> None:
        """Write keeper.json."""
        pid = os.getpid()
        value = {
            "version": protocol.VERSION,
            "pid": pid,
            "start_time": records.start_time(pid),
            "boot_id": records.boot_id(),
            "stopping": self.helpers.stopping,
            "netd": self.settings.netd,
            "isolation": self.isolation_module,
        }
        records.rewrite(f"{self._directory}/{KEEPER_FILE}", value)

    def _accept(self) -> None:
        while (connection := sockets.accept(self.listener)) is not None:
            self._serve(connection)

    def _serve(self, connection: Socket) -> None:
        """Wait for the request of a new connection; it comes at once, but we never block on it."""
        descriptor = connection.fileno()

        def readable() -> None:
            self.loop.forget(descriptor)
            received: list[int] = []
            try:
                message, received = protocol.receive(connection)
                if message is None:
                    connection.close()
                    return
                protocol.check_version(message)
                self._dispatch(connection, message, received)
            except (ContainerError, StateError, OSError, ValueError, KeyError, TypeError) as error:
                close_all(received)
                protocol.refuse(connection, error)
                connection.close()

        connection.setblocking(True)
        self.loop.reader(descriptor, readable)

    def _dispatch(self, connection: Socket, message: Message, received: list[int]) -> None:
        """Act on one request. Whatever keeps the connection takes it; it is closed here otherwise."""
        op = message.get("op")
        if op == "start":
            self._start(message["id"], connection, message.get("needs") or ())
        elif op == "reaped":
            self._reaped(connection, message)
            return
        elif op == "register":
            self.helpers.register(message["id"], message["pid"], connection)
            protocol.answer(connection)
            return
        elif op == "shutdown":
            self._shutdown(connection, force=bool(message.get("force")))
        else:
            protocol.answer(connection, **self._do(op, message, received))
        connection.close()

    def _do(self, op: object, message: Message, received: list[int]) -> Message:
        """Act on a request that is answered at once; the answer."""
        helpers = self.helpers
        match op:
            case "ping":
                return {"pid": os.getpid(), "stopping": helpers.stopping}
            case "put":
                if sum(count for _name, count in message["names"]) != len(received):
                    raise ValueError("names and descriptors differ in number")
                helpers.put(message["names"], received)
            case "drop":
                helpers.drop(message["names"])
            case "names":
                return {"names": helpers.names()}
            case "adopt":
                helpers.adopt(message["id"])
            case "busy":
                return {"busy": helpers.is_busy(message["id"])}
            case "stopping":
                self._set_stopping(stopping=bool(message["stopping"]))
            case _:
                raise StateError(f"the keeper does not know the request {op!r}")
        return {}

    def _start(self, identity: str, connection: Socket, needs: Sequence[str]) -> None:
        """Have a monitor forked that starts the container and answers the client itself.

        `needs` are names of descriptors without which there is no point: a killed keeper's are lost where no
        monitor had them.
        """
        if self.helpers.watches(identity):
            raise protocol.refusal(f"container {identity[:12]} is running already", protocol.RUNNING)
        if not all(map(self.helpers.has, needs)):
            raise protocol.refusal(f"container {identity[:12]}: sockets died with a keeper", protocol.LOST)
        self.helpers.start(identity, connection)

    def _let_go(self) -> None:
        """In a helper that has been forked: close what is nobody's but ours."""
        self.reaper.close()
        self.loop.close()
        self.listener.close()
        for waiting in self._waiting.values():
            for connection in waiting:
                connection.close()

    # exit codes ---------------------------------------------------------------------------------------------

    def _reaped(self, connection: Socket, message: Message) -> None:
        """A client whose monitor died asks how a process ended; it may wait for that."""
        pid, started = message["pid"], message["start_time"]
        code = self.reaper.status(pid, started)
        if code is None and message.get("wait") and records.lives(pid, started):
            self._waiting.setdefault((pid, started), []).append(connection)
            return
        protocol.answer(connection, exit_code=code)
        connection.close()

    def _tell_waiting(self, pid: int, started: int, code: int) -> None:
        for connection in self._waiting.pop((pid, started), []):
            protocol.answer(connection, exit_code=code)
            connection.close()

    # the end ------------------------------------------------------------------------------------------------

    def _set_stopping(self, *, stopping: bool) -> None:
        if stopping != self.helpers.stopping:
            self.helpers.stopping = stopping
            self.record()
        self.helpers.begin_netd()

    def _shutdown(self, connection: Socket, *, force: bool) -> None:
        running = self.helpers.monitors()
        if running and not force:
            raise ContainerError(f"{len(running)} containers of project {self.settings.project} still run")
        self._set_stopping(stopping=True)
        for helper in running:
            helper.pass_on("end", "", [])
        self.loop.forget(self.listener.fileno())
        children.remove_file(f"{self._directory}/{protocol.KEEPER_SOCKET}")
        own = process.pidfd_open(os.getpid())
        protocol.answer(connection, (own,), base=self.settings.base)
        os.close(own)
        self.loop.after(0.0, self._end)

    def _end(self) -> None:
        """Leave when netd and the monitors have left."""
        self.helpers.end_netd()
        if self.helpers.monitors():
            self.loop.after(0.01, self._end)
            return
        remove_records(self._directory)
        self.loop.stop()


def main(options: dict[str, Any]) -> None:
    """The keeper's life; `options` come from `spawn`, which also made us session leader with /dev/null on 0
    to 2."""
    paths = Paths(options["data"], options["run"])
    try:
        forget_environment()
        process.set_name("pc-keeper")
        process.prctl(process.PR_SET_DUMPABLE, 0)
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
        oom.protect()
        os.chdir("/")
        os.umask(0o077)
        isolation = __import__(options["isolation"], fromlist=["launch"])
        try:
            base, _missing = isolation.prepare(paths.host_name(options["project"]))
        except OSError:  # no group for ourselves: containers may have theirs nevertheless
            base = f"pycompose/{paths.host_name(options['project'])}"
        settings = Settings(paths, options["project"], options["netd"], isolation, base)
        keeper = Keeper(options, settings)
        keeper.record()
        share_memory()
        keeper.run()
    except BaseException as error:
        complain(paths, options["project"], "keeper", error)
        raise


def share_memory() -> None:
    """Load what monitors need, and put it where the collector of the forked processes will not touch it."""
    __import__("compose.runtime.supervision.monitor.monitor")
    __import__("compose.runtime.container.capabilities", fromlist=["available"]).available()
    sys._clear_type_cache()  # the names in it would be let go of by each monitor, page after page
    gc.collect()
    gc.freeze()
