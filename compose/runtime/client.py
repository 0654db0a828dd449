"""What the rest of the program uses to run containers: blocking calls, made in worker threads.

    keeper = Keeper.ensure(paths, project)      one a project, started when there is none (2 ms, overlaps)
    keeper.put_all({"dns/ID": [udp, tcp]})      descriptors that outlive the command
    keeper.start(identity)                      returns when process 1 has been executed
    keeper.exec(identity, process, pipes, tty=False).wait()
    keeper.stop(identity)                       returns when nothing of the container runs
    keeper.shutdown()                           ends netd and the keeper

`start` and whatever concerns descriptors goes to the keeper's socket, everything else straight to the
monitor of the container: when the keeper is dead these work as well. Objects hold no connection and may be
shared by threads.
"""

from __future__ import annotations

import contextlib
import os
import time

from compose.errors import ContainerError
from compose.linux import sockets
from compose.linux.files import readable_first
from compose.runtime import protocol
from compose.runtime.records import RUNNING, read_state, recorded_state
from compose.runtime.supervision import asking, hold, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from compose.linux.sockets import Socket
    from compose.runtime.protocol import Message
    from compose.runtime.spec import ContainerSpec, ContainerState, Process
    from compose.state.paths import Paths

__all__ = ["ExecSession", "Keeper", "read_state", "run_once"]

NETD = spawn.DEFAULTS["netd"]
ISOLATION = spawn.DEFAULTS["isolation"]


class Keeper:
    """The keeper of one project, as seen from outside."""

    __slots__ = ("paths", "project")

    def __init__(self, paths: Paths, project: str) -> None:
        self.paths = paths
        self.project = project

    @classmethod
    def ensure(cls, paths: Paths, project: str, *, netd: str = NETD, isolation: str = ISOLATION) -> Keeper:
        """The project's keeper, started when there is none; two callers at once get the same one.

        Does not wait until it is ready: the first request does. `netd` and `isolation` name modules, for
        tests. The project counts as not stopping afterwards.
        """
        spawn.ensure_keeper(paths, project, netd=netd, isolation=isolation, stopping=False)
        return cls(paths, project)

    @classmethod
    def find(cls, paths: Paths, project: str) -> Keeper | None:
        """The project's keeper, or None when none runs."""
        found = cls(paths, project)
        try:
            sockets.connect(paths.project_run(project), protocol.KEEPER_SOCKET).close()
        except OSError:
            return None
        return found

    # descriptors --------------------------------------------------------------------------------------------

    def put(self, name: str, descriptors: Sequence[int]) -> None:
        """Give the keeper copies of `descriptors` under `name`, in the place of what it had there."""
        self.put_all({name: descriptors})

    def put_all(self, named: Mapping[str, Sequence[int]]) -> None:
        """Give the keeper many descriptors at once; all of them are held when this returns."""
        asking.put_all(self.paths, self.project, named)

    def drop(self, *names: str) -> None:
        """Let the keeper, netd and monitors close what they hold under these names."""
        self._ask("drop", names=names)

    def names(self) -> list[str]:
        """The names of everything that the keeper holds for the engine."""
        return asking.held_names(self.paths, self.project)

    # containers ---------------------------------------------------------------------------------------------

    def start(
        self, identity: str, warn: Callable[[str], None] | None = None, *, needs: Sequence[str] = ()
    ) -> int:
        """Start a container whose spec.json is written; process 1 has been executed when this returns.

        Returns the number of process 1; `warn` is called with what could not be given to it (limits without a
        controller). Raises `ContainerError` with the step that failed; its `reason` is `protocol.LOST` when
        the keeper does not hold what the container `needs`, and `protocol.RUNNING` when it runs already.
        """
        deadline = time.monotonic() + asking.PATIENCE
        while True:
            try:
                message = self._ask("start", id=identity, needs=needs)
            except ConnectionError:
                raise ContainerError(
                    f"container {identity[:12]}: its monitor died while it started the container",
                    hint=f"cat {self.paths.project_run(self.project)}/errors.log",
                ) from None
            except ContainerError as error:
                if error.reason != protocol.RUNNING or time.monotonic() > deadline:
                    raise
                # Its monitor may still start it for a command that was killed, or be about to leave.
                if self._tell(identity, "ping") is not None:
                    raise
            else:
                for text in message["warnings"]:
                    if warn is not None:
                        warn(text)
                return int(message["pid"])

    def adopt(self, identity: str) -> None:
        """Give a running container whose helpers have all died a new monitor; one that has one keeps it."""
        self._ask("adopt", id=identity)

    def stop(
        self,
        identity: str,
        signal: str | int | None = None,
        grace: float | None = None,
        *,
        resume: bool = False,
    ) -> ContainerState:
        """Stop a container; nothing of it runs, and its state is on disk, when this returns.

        With `resume` it does not count as stopped by hand: `pycompose boot start` brings it back.

        `signal` and `grace` (seconds; negative: wait for ever) stand for what spec.json says. Stopping what
        does not run is no error. Raises `ContainerError` when processes cannot be ended.
        """
        self._tell(identity, "stop", signal=signal, grace=grace, resume=resume)
        return self._settled(identity)

    def restart(
        self, identity: str, grace: float | None = None, warn: Callable[[str], None] | None = None
    ) -> bool:
        """Stop a container and start it, all by its monitor: its ports stay open, and whoever follows its log
        goes on. False, and nothing has happened, when it does not run. Raises `ContainerError`.
        """
        former = recorded_state(self.paths, identity)
        run = [former.get("pid", 0), former.get("start_time", 0)]  # asked again, it is not ended twice
        answer = self._tell(identity, "restart", grace=grace, run=run)
        for text in (answer or {}).get("warnings", ()):
            if warn is not None:
                warn(text)
        return answer is not None

    def kill(self, identity: str, signal: str | int = "SIGKILL") -> None:
        """Send a signal to process 1; raises `ContainerError` when the container does not run."""
        if self._tell(identity, "kill", signal=signal) is None:
            raise ContainerError(f"container {identity[:12]} is not running")

    def pause(self, identity: str) -> None:
        """Freeze every process of the container."""
        if self._tell(identity, "pause") is None:
            raise ContainerError(f"container {identity[:12]} is not running")

    def unpause(self, identity: str) -> None:
        """Thaw every process of the container."""
        if self._tell(identity, "unpause") is None:
            raise ContainerError(f"container {identity[:12]} is not running")

    @contextlib.contextmanager
    def held(self, identity: str) -> Iterator[None]:
        """Freeze every process of the container as long as the block lasts, or this process lives."""
        connection = self.connection(identity)
        if connection is None:
            raise ContainerError(f"container {identity[:12]} is not running")
        try:
            protocol.request(connection, "hold")
            protocol.check(protocol.receive(connection)[0])
            yield
        finally:
            connection.close()
            with contextlib.suppress(ContainerError):  # it runs again already, or was stopped
                self.unpause(identity)

    def wait(self, identity: str) -> ContainerState:
        """The state of a container when it has ended for good: not while its restart policy starts it
        again."""
        self._tell(identity, "wait")
        return self._settled(identity)

    def exec(
        self, identity: str, process: Process, descriptors: Sequence[int] = (), *, tty: bool = False
    ) -> ExecSession:
        """Run one more process in a container.

        Without `tty` the three `descriptors` become its standard ones. With it the session's `terminal` is
        the master of a new pseudo-terminal, for the caller to read, write and resize; nobody stands between.
        Raises
        `ContainerError` with the step that failed.
        """
        if not tty and len(descriptors) != 3:
            raise ValueError("three descriptors or a terminal")
        connection = self.connection(identity)
        if connection is None:
            raise ContainerError(f"container {identity[:12]} is not running")
        try:
            protocol.request(connection, "exec", () if tty else descriptors, process=process, tty=tty)
            message, received = protocol.receive(connection)
            protocol.check(message)
        except BaseException:
            connection.close()
            raise
        assert message is not None
        return ExecSession(self, connection, message["pid"], message["start_time"], received)

    def end_input(self, identity: str) -> None:
        """Let process 1 read the end of its standard input; no error when it has ended."""
        self._tell(identity, "end_input")

    # the project --------------------------------------------------------------------------------------------

    def set_stopping(self, stopping: bool) -> None:
        """Say that the project goes down: from now on nothing is restarted, whatever dies.

        Works without a keeper too: then none is started by a monitor any more.
        """
        spawn.set_stopping(self.paths, self.project, stopping=stopping)

    def shutdown(self, *, force: bool = False) -> None:
        """End netd and the keeper, which have ended when this returns.

        Raises `ContainerError` while containers run, unless forced: then these are killed first.
        """
        spawn.sweep_once()
        connection = spawn.connect(self.paths, self.project)
        if connection is None:
            spawn.sweep(self.paths, self.project)
            return
        try:
            protocol.request(connection, "shutdown", force=force)
            message, received = protocol.receive(connection)
            if message is not None:
                protocol.check(message)
                spawn.wait_for_end(received[0])
                os.close(received[0])
                spawn.remove_base(message["base"])
        finally:
            connection.close()

    # talking ------------------------------------------------------------------------------------------------

    def _ask(self, op: str, descriptors: Sequence[int] = (), **fields: Any) -> Message:
        return asking.ask(self.paths, self.project, op, descriptors, fields)

    def _tell(self, identity: str, op: str, **fields: Any) -> Message | None:
        """One request to a monitor, repeated when it dies over it; None when the container does not run."""
        while True:
            connection = self.connection(identity)
            if connection is None:
                return None
            try:
                protocol.request(connection, op, **fields)
                return protocol.check(protocol.receive(connection)[0])
            except ConnectionError:
                continue
            finally:
                connection.close()

    def connection(self, identity: str) -> Socket | None:
        """A connection to the container's monitor, which is given a successor when it is dead; None when the
        container does not run."""
        deadline = time.monotonic() + asking.PATIENCE
        while True:
            try:
                return sockets.connect(self.paths.container_run(identity), protocol.MONITOR_SOCKET)
            except OSError:
                state = read_state(self.paths, identity)
            runs = state.get("status") in RUNNING
            if not runs and not self._is_busy(identity):
                return None
            if time.monotonic() > deadline:
                raise ContainerError(f"container {identity[:12]} runs, but its monitor does not answer")
            if runs:
                spawn.ensure_again(self.paths, self.project)
                if not hold.is_held(self.paths.container(identity)):
                    self.adopt(identity)
            time.sleep(0.01)

    def _is_busy(self, identity: str) -> bool:
        """Whether a monitor is about to start the container, for a command that was killed, or about to
        leave. One that begins or ends does not listen."""
        try:
            busy = bool(asking.ask_once(self.paths, self.project, "busy", fields={"id": identity})["busy"])
        except (ContainerError, OSError):  # no keeper forks no monitors, but one that died may have
            busy = False
        return busy or hold.is_held(self.paths.container(identity))

    def _settled(self, identity: str) -> ContainerState:
        return read_state(self.paths, identity)


class ExecSession:
    """A process that was started in a running container."""

    __slots__ = ("_connection", "_keeper", "_start_time", "pid", "terminal")

    def __init__(
        self, keeper: Keeper, connection: Socket, pid: int, start_time: int, received: Sequence[int]
    ) -> None:
        self._keeper = keeper
        self._connection = connection
        self._start_time = start_time
        self.pid = pid
        self.terminal: int | None = received[0] if received else None

    def fileno(self) -> int:
        """Becomes readable when `wait` would not block."""
        return self._connection.fileno()

    def wait(self) -> int | None:
        """The exit code (128 + signal when one ended it); None when it cannot be learnt."""
        try:
            message = protocol.receive(self._connection)[0]
        except OSError:
            message = None
        if message is None:
            try:
                message = self._keeper._ask("reaped", pid=self.pid, start_time=self._start_time, wait=True)
            except (ContainerError, OSError):
                return None
        code = message.get("exit_code")
        return None if code is None else int(code)

    def resize(self, rows: int, columns: int) -> None:
        """Tell the terminal its size in characters."""
        if self.terminal is not None:
            from compose.linux.terminal import set_window_size

            set_window_size(self.terminal, rows, columns)

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        protocol.request(self._connection, "signal", signal=number)

    def close(self) -> None:
        """Let go; the process runs on, but for a hang-up when it has a terminal."""
        self._connection.close()
        if self.terminal is not None:
            os.close(self.terminal)
            self.terminal = None


def run_once(
    paths: Paths, spec: ContainerSpec, stdin: int, stdout: int, stderr: int, *, cancel: int = -1
) -> int:
    """Run a container that needs no keeper, log or restart, on the given descriptors; its exit code.

    Used by builds. The container is killed as a whole when the caller dies or is interrupted, and when the
    descriptor `cancel` becomes readable. Raises `ContainerError` with the step that failed.
    """
    connection, process = spawn.start_once(paths, ISOLATION)
    try:
        protocol.request(connection, "run", (stdin, stdout, stderr), spec=spec)
        if cancel >= 0 and not readable_first(connection.fileno(), cancel):
            error = ContainerError("the container was ended on request")
            error.reason = protocol.CANCELLED
            raise error
        message = protocol.check(protocol.receive(connection)[0])
    except (ConnectionError, ContainerError) as error:
        connection.close()
        process.wait()
        spawn.sweep_once()
        if isinstance(error, ConnectionError):
            raise ContainerError("the process that ran the container died") from None
        raise
    finally:
        connection.close()
        process.wait()
    return int(message["exit_code"])
