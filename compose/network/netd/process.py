"""The network process of a project: names for its containers, published ports to them.

The keeper forks it and gives it descriptors by name, at the start and later as packets on a control socket:

    listen/CONTAINER/PROTOCOL/HOST IP/HOST PORT/TARGET IP/TARGET PORT/SANDBOX    a bound listener (one)
    dns/CONTAINER                                                         the name sockets (UDP, then TCP)

SANDBOX is the project in whose namespace the target's network lives; left out with its slash, our own.

    put NAME  with the descriptors        drop NAME

All of its state can be made again from those and from the files below RUN: a successor goes on where it was
killed, and only the connections in flight are lost. Its own thread stays in the host's network namespace, a
second one makes sockets in the project's (inside.py). A failure in one connection, question or file is a line
in ``errors.log`` in the project's run-time directory and ends nothing.

When the control socket ends and ``keeper.json`` is gone, the project is over. While the file is there the
keeper has died: netd goes on serving until a new keeper has written the file anew. Monitors start one and
give it the descriptors; where there is no monitor any more, `give_back` does (runtime/supervision/heir.py).
"""

from __future__ import annotations

import _socket
import gc
import os
import sys
import time

from compose.linux import sockets
from compose.linux.inotify import CREATE, DELETE, DELETE_SELF, IGNORED, MOVED_TO, ONLYDIR, OVERFLOW, Inotify
from compose.linux.limits import raise_descriptor_limit
from compose.network.netd.forward import TCPForwarder
from compose.network.netd.inside import Inside
from compose.network.netd.loop import Loop, Timer
from compose.network.netd.nameserver import NameServer
from compose.network.netd.resolvers import Resolvers
from compose.network.netd.table import Table
from compose.network.netd.udp import UDPForwarder
from compose.state.files import read_json
from compose.state.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from compose.network.netd.inside import Place

    GiveBack = Callable[[Mapping[str, Sequence[int]]], bool]

_CLOSE_WRITE, _MOVED_FROM = 0x8, 0x40
_DIRECTORIES = CREATE | MOVED_TO | DELETE | _MOVED_FROM | DELETE_SELF | ONLYDIR
_FILES = _CLOSE_WRITE | MOVED_TO | DELETE | _MOVED_FROM | ONLYDIR
_LONGEST_LOG = 65536  # bytes
_MOST_SAID = 200  # different failures
_STILL_NEEDED = 0.5  # seconds between looks for the project and its new keeper, once the old one is gone


class Daemon:
    """Everything that one project's network process holds."""

    def __init__(
        self,
        control: _socket.socket,
        project: str,
        run_dir: str,
        *,
        resolv_conf: str,
        port: int = 53,
        give_back: GiveBack | None = None,
    ) -> None:
        paths = Paths("", run_dir)
        self._project_run = paths.project_run(project)
        self._networks = f"{run_dir}/networks"
        self._keeper = b""
        self._looks = 0
        self._give_back = give_back
        self._held: dict[str, list[int]] = {}
        self._said: set[str] = set()
        self._control = control
        self.loop = Loop(self.report)
        self._paths = paths
        self._project = project
        self._inside = Inside(self.loop, self.report)
        self._forwarders: dict[str, TCPForwarder | UDPForwarder] = {}
        self._inotify = Inotify()
        self._watched: dict[int, str] = {}
        self._root = -1
        self._loading: Timer | None = None
        self.table = Table(self._networks, project, self._watch)
        resolvers = Resolvers(self.loop, resolv_conf, self._inside_container, port)
        self.names = NameServer(self.loop, self.table, resolvers, self._host)
        self._uplinks: dict[str, tuple[int, int, str]] = {}
        self.loop.add(self._inotify.descriptor, self._changed)
        control.setblocking(False)
        self.loop.add(control.fileno(), self._command)
        self._watch_root()

    # Descriptors

    def put(self, name: str, descriptors: Sequence[int]) -> None:
        """Serve what is called `name`; the descriptors are ours from now on."""
        try:
            self.drop(name)
            kind, _, rest = name.partition("/")
            if kind == "listen":
                _container, protocol, _host, _port, target, target_port, *sandbox = rest.split("/")
                (descriptor,) = descriptors
                listener = _socket.socket(fileno=descriptor)
                maker = UDPForwarder if protocol == "udp" else TCPForwarder
                place = self._inside.place(self._paths.project_namespace(*sandbox or (self._project,)))
                address = (target, int(target_port))
                self._forwarders[name] = maker(self.loop, place, listener, address)
            elif kind == "dns":
                udp, tcp = descriptors
                self.names.add(rest, _socket.socket(fileno=udp), _socket.socket(fileno=tcp))
            else:
                raise ValueError(f"no descriptor of ours is called {name}")
            self._held[name] = list(descriptors)
        except (OSError, ValueError) as error:
            self.report(error)
            for descriptor in descriptors:
                _close(descriptor)

    def drop(self, name: str) -> None:
        """Serve what is called `name` no more; connections that exist go on."""
        self._held.pop(name, None)
        kind, _, rest = name.partition("/")
        if kind == "dns":
            self.names.remove(rest)
        elif forwarder := self._forwarders.pop(name, None):
            forwarder.close()
            if all(other.inside is not forwarder.inside for other in self._forwarders.values()):
                self._inside.forget(forwarder.inside.path)

    def _inside_container(self, container: str) -> Place:
        return self._inside.visit(self._paths.container_namespace(container))

    def _command(self, events: int) -> None:
        try:
            packet, descriptors = sockets.receive(self._control)
        except BlockingIOError:
            return
        except ConnectionError:
            packet, descriptors = b"", []
        if not packet:
            self.loop.remove(self._control.fileno())
            self._control.close()
            self._keeper = self._keeper_now()
            self._look_for_keeper()
            return
        verb, _, name = packet.decode("utf-8", "replace").partition(" ")
        if verb == "put":
            self.put(name, descriptors)
        elif verb == "drop":
            self.drop(name)
        else:
            self.report(ValueError(f"unknown command from the keeper: {verb[:40]}"))

    # Without a keeper

    def _keeper_now(self) -> bytes:
        try:
            with open(f"{self._project_run}/keeper.json", "rb") as file:
                return file.read()
        except OSError:
            return b""

    def _look_for_keeper(self) -> None:
        """End when the project has, or when another keeper has begun."""
        now = self._keeper_now()
        self._looks += 1
        done = not now or now != self._keeper
        if now and self._give_back is not None and (done or self._looks > 1):
            done = self._give_back(self._held) or done
        if done:
            self.loop.running = False
        else:
            self.loop.after(_STILL_NEEDED, self._look_for_keeper)

    # Files

    def _watch_root(self) -> None:
        try:
            os.makedirs(self._networks, mode=0o700, exist_ok=True)
            self._root = self._inotify.add(self._networks, _DIRECTORIES)
        except OSError as error:
            self.report(error)
            self.loop.after(1, self._watch_root)
            return
        self._load()

    def _load(self) -> None:
        self.table.load()
        self._load_later()

    def _load_later(self) -> None:
        """What could not be read is read a second later, whatever else happens."""
        if self.table.unread is not None and self._loading is None:
            self.report(self.table.unread)
            self._loading = self.loop.after(1, self._load_again)

    def _load_again(self) -> None:
        self._loading = None
        self._load()

    def _watch(self, network: str) -> None:
        self._watched[self._inotify.add(f"{self._networks}/{network}", _FILES)] = network

    def _changed(self, events: int) -> None:
        """Files or directories of networks have come, gone or changed."""
        files: dict[str, set[str]] = {}
        for watch, mask, name in self._inotify.read():
            if mask & OVERFLOW:
                self._load()
                return
            if watch == self._root:
                if mask & IGNORED:
                    self._watch_root()
                elif mask & (CREATE | MOVED_TO):
                    self.table.load_network(name)
                elif mask & (DELETE | _MOVED_FROM):
                    self.table.removed(name)
            elif mask & IGNORED:
                self._watched.pop(watch, None)
            elif network := self._watched.get(watch):
                files.setdefault(network, set()).add(name)
        for network, changed in files.items():
            self.table.changed(network, changed)
        self._load_later()

    def _host(self, sandboxes: Sequence[str]) -> str:
        """The host's end of our uplink, or else of that of one of these projects; empty without one."""
        hosts = map(self._uplink, (self._project, *sandboxes))
        return next((host for host in hosts if host), "")

    def _uplink(self, project: str) -> str:
        """The host's address that is in the ``uplink.json`` of a project; empty without one."""
        path = f"{self._paths.project_run(project)}/uplink.json"
        known = self._uplinks.get(project, (0, 0, ""))
        try:
            status = os.stat(path)
            if known[:2] != (status.st_mtime_ns, status.st_ino):
                value = read_json(path)
                host = str(value.get("host") or "") if isinstance(value, dict) else ""
                known = (status.st_mtime_ns, status.st_ino, host.partition("/")[0])
                self._uplinks[project] = known
            return known[2]
        except (OSError, ValueError, RecursionError):
            return ""

    # Failures

    def report(self, error: BaseException) -> None:
        """One line in the log, once for each kind of failure, for as long as the log is short."""
        place = error.__traceback__
        where = ""
        while place is not None:
            where = f"{os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno}"
            place = place.tb_next
        text = f"{type(error).__name__}: {error} ({where})".replace("\n", " ")[:500]
        if text in self._said or len(self._said) > _MOST_SAID:
            return
        self._said.add(text)
        line = f"netd: {time.time():.3f} {text}\n".encode("utf-8", "replace")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(f"{self._project_run}/errors.log", flags, 0o600)
            try:
                if os.fstat(descriptor).st_size < _LONGEST_LOG:
                    os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError:
            return


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return


def main(
    control: int,
    descriptors: Mapping[str, Sequence[int]],
    project: str,
    run_dir: str,
    *,
    resolv_conf: str = "/etc/resolv.conf",
    resolver_port: int = 53,
    give_back: GiveBack | None = None,
) -> int:
    """Serve until the project is gone; the exit code. `control` is a SOCK_SEQPACKET socket to the keeper.

    `resolv_conf` and `resolver_port` are for tests. `give_back` is called with all descriptors when
    the keeper has died; whether a new one has them.
    """
    raise_descriptor_limit()
    sys.setswitchinterval(0.0005)  # the second thread has next to nothing to do, but that at once
    daemon = Daemon(
        sockets.adopt(control),
        project,
        run_dir,
        resolv_conf=resolv_conf,
        port=resolver_port,
        give_back=give_back,
    )
    for name, numbers in descriptors.items():
        daemon.put(name, numbers)
    gc.freeze()
    daemon.loop.run()
    return 0
