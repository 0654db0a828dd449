"""Starting a keeper: one fork and exec of the interpreter, at most once a project at a time.

Whoever wants a keeper takes the lock of the project's run directory (flock on the directory itself, so that
there is no file to leave behind), looks whether one answers, and otherwise binds the socket and executes the
interpreter. The socket exists before the keeper does, so that nobody waits for it to become ready: requests
do.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time

from compose.errors import ContainerError, StateError
from compose.linux import namespaces, sockets
from compose.linux.files import readable
from compose.runtime import protocol, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from compose.linux.sockets import Socket
    from compose.state.paths import Paths

KEEPER_FILE = "keeper.json"

_ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))
_SOCKET = 3
_CODE = (
    "import os, sys; sys.path.insert(0, sys.argv.pop(1)); from compose.linux.files import close_range; "
    f"close_range({_SOCKET + 1}); from {{module}} import main; "
    "from compose.runtime.protocol import loads; main(loads(sys.argv.pop(1).encode())); os._exit(0)"
)
"""Whatever the caller's shell has open for its children, a lock perhaps, is none of a helper's. At its
end nothing is taken apart: whoever stops a project waits for that."""
_LOADED = (
    protocol.KEEPER_MODULE,
    "compose.runtime.supervision.monitor.monitor",
    "compose.runtime.cgroups.v1",
    "compose.runtime.cgroups.v2",
)
_ONCE_MODULE = "compose.runtime.supervision.once"
_PASSED_ON = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DBUS_SYSTEM_BUS_ADDRESS")
_ANSWER_TIME = 30.0
_LAST_BREATH = 1.0

_children: list[int] = []
"""Keepers that this process has started: waited for once they end, so that no zombies gather."""


def ensure_keeper(paths: Paths, project: str, *, netd: str, isolation: str, stopping: bool | None) -> None:
    """Start the project's keeper if none answers. `stopping` None: as it is on record."""
    reap_children()
    lock = _lock(paths.project_run(project))
    try:
        record = _record(paths, project)
        recorded = bool(record.get("stopping"))
        connection = connect(paths, project)
        if connection is None:
            wanted = recorded if stopping is None else stopping
            if not record or records.lives(record.get("pid", 0), record.get("start_time", 0)):
                _end_lost_keepers(paths, project)
            _start_keeper(paths, project, {"netd": netd, "isolation": isolation, "stopping": wanted})
            return
        try:
            if stopping is not None and recorded != stopping:
                _tell(connection, stopping=stopping)
        finally:
            connection.close()
    finally:
        os.close(lock)


def connect(paths: Paths, project: str) -> Socket | None:
    """A connection to the project's keeper; None where nobody listens.

    Raises `ContainerError` where that cannot be known: one that lives must not be replaced.
    """
    try:
        return sockets.connect(paths.project_run(project), protocol.KEEPER_SOCKET)
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise ContainerError(f"reach the keeper of project {project}: {why}") from None


def _end_lost_keepers(paths: Paths, project: str) -> None:
    from compose.runtime.supervision import lost

    lost.end_keepers(paths, project)


def ensure_again(paths: Paths, project: str) -> None:
    """Start a keeper, if there is none, with what the last one was told."""
    record = _record(paths, project)
    names = {name: str(record.get(name) or default) for name, default in DEFAULTS.items()}
    ensure_keeper(paths, project, **names, stopping=None)


def ensure_successor(paths: Paths, project: str) -> None:
    """`ensure_again` for a monitor whose keeper died.

    Raises `StateError` when the project is stopping: then nothing is replaced unless a client wants it.
    """
    if is_stopping(paths, project):
        raise StateError(f"project {project} is stopping")
    reap_children(seconds=_LAST_BREATH)  # its channel ends before it does
    with outside_of_the_container():
        ensure_again(paths, project)


DEFAULTS = {"netd": "compose.network.netd.process", "isolation": "compose.runtime.supervision.isolation"}


def is_stopping(paths: Paths, project: str) -> bool:
    """Whether the project goes down."""
    return bool(_record(paths, project).get("stopping"))


def has_record(paths: Paths, project: str) -> bool:
    """Whether a keeper was there that has not taken its leave."""
    return bool(_record(paths, project))


def set_stopping(paths: Paths, project: str, *, stopping: bool) -> None:
    """Tell the keeper, or its record where there is none, whether the project goes down."""
    directory = paths.project_run(project)
    if not os.path.isdir(directory):
        return
    lock = _lock(directory)
    try:
        connection = connect(paths, project)
        if connection is None:
            record = _record(paths, project)
            if record:
                records.rewrite(f"{directory}/{KEEPER_FILE}", {**record, "stopping": stopping})
            return
        try:
            _tell(connection, stopping=stopping)
        finally:
            connection.close()
    finally:
        os.close(lock)


def _tell(connection: Socket, *, stopping: bool) -> None:
    """Let the keeper know whether the project is being stopped."""
    protocol.request(connection, "stopping", stopping=stopping)
    protocol.check(protocol.receive(connection)[0])


class outside_of_the_container:  # noqa: N801 - used as a verb
    """While it lasts, children of this process are born in its own pid namespace, not in its container's."""

    def __enter__(self) -> None:
        try:
            self._former = os.open("/proc/self/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # its process 1 has ended
            self._former = -1
        namespaces.reset_pid_namespace()

    def __exit__(self, *_error: object) -> None:
        if self._former >= 0:
            try:
                namespaces.setns(self._former, namespaces.CLONE_NEWPID)
            finally:
                os.close(self._former)


def sweep(paths: Paths, project: str) -> None:
    """Remove what a keeper that was killed has left: its socket, its record, its control group."""
    directory = paths.project_run(project)
    lock = _lock(directory)
    try:
        connection = connect(paths, project)
        if connection is not None:
            connection.close()
            return
        _end_lost_keepers(paths, project)
        remove_records(directory)
    finally:
        os.close(lock)
    from compose.runtime import cgroups
    from compose.runtime.supervision import leftovers

    host_name = paths.host_name(project)
    leftovers.remove_of_project(host_name)
    for base in cgroups.bases_of(host_name):
        remove_base(base)


def remove_records(directory: str) -> None:
    """Remove the keeper's files, and the directory unless others have files there."""
    for name in (protocol.KEEPER_SOCKET, KEEPER_FILE, "errors.log"):
        try:
            os.unlink(f"{directory}/{name}")
        except FileNotFoundError:
            continue
    try:
        os.rmdir(directory)
    except OSError:
        return


def remove_base(base: str) -> None:
    """Remove a project's control groups as soon as its last helper has left them, but wait no longer than
    helpers take to end. An empty base is none."""
    if not base:
        return
    from compose.runtime import cgroups
    from compose.runtime.cgroups.common import OWN_LEAF

    deadline = time.monotonic() + _LAST_BREATH
    leaf = cgroups.find(base, OWN_LEAF)
    while leaf.pids() and time.monotonic() < deadline:
        time.sleep(0.002)
    cgroups.remove_base(base)


class OnceProcess:
    """The private keeper of one `run_once`."""

    __slots__ = ("pid",)

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def wait(self) -> None:
        """Wait until it has ended; it does once its connection is closed."""
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass


def start_once(paths: Paths, isolation: str) -> tuple[Socket, OnceProcess]:
    """A private keeper that lives as long as the connection."""
    from compose.runtime.supervision import bytecode

    sweep_once()
    ours, theirs = sockets.pair()
    options = {"data": paths.data, "run": paths.run, "isolation": isolation}
    try:
        return ours, OnceProcess(_spawn(_ONCE_MODULE, bytecode.PLAIN, options, theirs.fileno()))
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def sweep_once() -> None:
    """End and remove what private keepers that were killed have left: their names tell whose it is."""
    from compose.runtime import cgroups
    from compose.runtime.cgroups.common import ROOT
    from compose.runtime.supervision import leftovers

    root = ROOT if cgroups.version() == 2 else f"{ROOT}/freezer"
    try:
        names = os.listdir(f"{root}/pycompose")
    except OSError:  # no group of ours
        return
    for name in names:
        kind, _dash, process = name.partition("-")
        pid, _dash, started = process.partition("-")
        if kind != "once" or not (pid.isdigit() and started.isdigit()):
            continue
        if records.lives(int(pid), int(started)):
            continue
        leftovers.end("pycompose", name)
        cgroups.remove_base(f"pycompose/{name}")


def wait_for_end(pidfd: int) -> None:
    """Wait until the process has ended; raises `ContainerError` when it does not within some seconds."""
    if not readable(pidfd, _ANSWER_TIME):
        raise ContainerError("the keeper does not end")
    reap_children()


def reap_children(*, seconds: float = 0.0) -> None:
    """Wait for keepers of ours that have ended, or are about to."""
    for pid in list(_children):
        try:
            if seconds:
                records.wait_for_end(pid, records.start_time(pid), seconds=seconds)
            reaped, _status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            reaped = pid
        if reaped and pid in _children:
            _children.remove(pid)


def _record(paths: Paths, project: str) -> dict[str, Any]:
    """keeper.json, or nothing where there is none that we can read."""
    try:
        found: dict[str, Any] = records.read(f"{paths.project_run(project)}/{KEEPER_FILE}")
    except StateError:
        return {}
    return found


def _lock(directory: str) -> int:
    """Lock the directory, which exists afterwards."""
    while True:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor = -1
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(descriptor), os.stat(directory)):
                return descriptor
        except FileNotFoundError:  # removed by a keeper that ended
            pass
        except BaseException:
            if descriptor >= 0:
                os.close(descriptor)
            raise
        if descriptor >= 0:
            os.close(descriptor)


def _start_keeper(paths: Paths, project: str, options: dict[str, Any]) -> None:
    from compose.linux.limits import raise_descriptor_limit
    from compose.runtime.supervision import bytecode

    raise_descriptor_limit()  # it inherits ours, and holds the descriptors of all containers
    listener = sockets.listen(paths.project_run(project), protocol.KEEPER_SOCKET)
    try:
        options = {**options, "data": paths.data, "run": paths.run, "project": project}
        flags = bytecode.flags(_ROOT, (*_LOADED, options["isolation"], options["netd"]))
        _children.append(_spawn(protocol.KEEPER_MODULE, flags, options, listener.fileno()))
    finally:
        listener.close()


def _spawn(module: str, flags: Sequence[str], options: dict[str, Any], socket: int) -> int:
    """Execute `module`.main with options and one socket, in a session of its own; its process number."""
    from compose.runtime.container.reexec import interpreter

    arguments = [sys.executable, *flags, "-c", _CODE.format(module=module), _ROOT]
    arguments.append(protocol.dumps({**options, "socket": _SOCKET}).decode())
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    actions: list[tuple[Any, ...]] = [
        *((os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in range(3)),
        (os.POSIX_SPAWN_DUP2, socket, _SOCKET),
    ]
    try:
        with interpreter() as program:
            environment.update(program.environment)
            return os.posix_spawn(
                program.path, arguments, environment, file_actions=actions, setsid=True, setsigmask=()
            )
    except OSError as error:
        raise ContainerError(f"execute {sys.executable}: {os.strerror(error.errno or 0)}") from None
