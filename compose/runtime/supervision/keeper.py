"""The keeper: one process a project that forks monitors and netd, and holds what must outlive them.

It is executed by `spawn`, on an interpreter without site-packages. It parses nothing but requests and decides
nothing:

* it forks a monitor for every container that is started, from its own preloaded image;
* it holds descriptors under names. A name with a container's id in it goes to that container's monitor too,
  which thereby gives a new keeper everything back when this one dies. Names below ``monitor/ID/`` are a
  monitor's own (the read ends of output, the pidfd, ...), all others are netd's;
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
import time

from compose.errors import ContainerError, StateError
from compose.linux import process, sockets
from compose.linux.files import readable
from compose.runtime import oom, protocol, records
from compose.runtime.container.reexec import forget_environment
from compose.runtime.supervision import children, orphans
from compose.runtime.supervision.loop import Loop
from compose.runtime.supervision.spawn import KEEPER_FILE, remove_records
from compose.state.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from compose.linux.sockets import Socket
    from compose.runtime.protocol import Message
    from compose.runtime.supervision.loop import Timer

OWN_PREFIX = "monitor/"
"""Names below it belong to monitors; netd never sees them."""

_NETD = "netd"
_GOOD_LIFE = 2.0
"""Seconds; a helper that lived shorter is replaced later and later."""
_LONGEST_PAUSE = 0.8


class Helper:
    """A monitor or netd: its channel, and how often it died."""

    __slots__ = ("began", "channel", "failures", "name", "pid", "timer")

    def __init__(self, name: str) -> None:
        self.name = name
        """The container's id, or "netd"."""
        self.channel: Socket | None = None
        self.pid = 0
        self.began = 0.0
        self.failures = 0
        self.timer: Timer | None = None


class Keeper:
    """The process."""

    def __init__(self, options: dict[str, Any], isolation: Any, base: str) -> None:
        self.paths = Paths(options["data"], options["run"])
        self.project: str = options["project"]
        self.netd_module: str = options["netd"]
        self.isolation_module: str = options["isolation"]
        self.isolation = isolation
        self.base = base
        self.stopping: bool = options["stopping"]
        self.listener = sockets.adopt(options["socket"])
        self.loop = Loop()
        self.store: dict[str, list[int]] = {}
        self.helpers: dict[str, Helper] = {}
        self.reaper = children.Reaper(self.loop)
        self._waiting: dict[tuple[int, int], list[Socket]] = {}

    # life ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until `shutdown`."""
        self.listener.setblocking(False)
        self.loop.reader(self.listener.fileno(), self._accept)
        self.reaper.on_exit = self._tell_waiting
        if not self.stopping:
            for identity in orphans.of_project(self.paths, self.project):
                self._adopt(identity)
        self.loop.run()

    def record(self) -> None:
        """Write keeper.json."""
        path = f"{self.paths.project_run(self.project)}/{KEEPER_FILE}"
        pid = os.getpid()
        value = {
            "version": protocol.VERSION,
            "pid": pid,
            "start_time": records.start_time(pid),
            "boot_id": records.boot_id(),
            "stopping": self.stopping,
            "netd": self.netd_module,
            "isolation": self.isolation_module,
        }
        records.write(path, value)

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
            return
        if op == "reaped":
            self._reaped(connection, message)
            return
        if op == "register":
            self._register(message["id"], message["pid"], connection)
            return
        answers: dict[str, Callable[[], Message]] = {
            "ping": lambda: {"pid": os.getpid(), "stopping": self.stopping},
            "put": lambda: self._put(message["names"], received),
            "drop": lambda: self._drop(message["names"]),
            "names": lambda: {"names": [name for name in self.store if not name.startswith(OWN_PREFIX)]},
            "adopt": lambda: self._adopt(message["id"]),
            "busy": lambda: {"busy": self._is_busy(message["id"])},
            "stopping": lambda: self._set_stopping(bool(message["stopping"])),
        }
        if op == "shutdown":
            self._shutdown(connection, force=bool(message.get("force")))
        elif op in answers:
            protocol.answer(connection, **answers[op]())
        else:
            raise StateError(f"the keeper does not know the request {op!r}")
        connection.close()

    # descriptors --------------------------------------------------------------------------------------------

    def _put(self, names: list[list[Any]], received: list[int]) -> Message:
        if sum(count for _name, count in names) != len(received):
            raise ValueError("names and descriptors differ in number")
        place = 0
        for name, count in names:
            self._catch_up(self._owner(name))
            self._hold(name, received[place : place + count])
            place += count
        return {}

    def _hold(self, name: str, descriptors: list[int], *, origin: str = "") -> None:
        """Keep descriptors, and give copies to whoever is concerned."""
        close_all(self.store.get(name, []))
        self.store[name] = descriptors
        owner = self._owner(name)
        if owner is not None and owner.name != origin:
            self._pass_on(owner, "put", name, descriptors)
        if not name.startswith(OWN_PREFIX):
            netd = self.helpers.get(_NETD)
            if netd is None:
                self._fork_netd()
            else:
                self._pass_on(netd, "put", name, descriptors)

    def _drop(self, names: list[str], *, origin: str = "") -> Message:
        for name in names:
            owner = self._owner(name)
            if owner is not None and owner.name != origin:
                self._pass_on(owner, "drop", name, [])
            netd = self.helpers.get(_NETD)
            if netd is not None and not name.startswith(OWN_PREFIX):
                self._pass_on(netd, "drop", name, [])
            close_all(self.store.pop(name, []))
        return {}

    def _owner(self, name: str) -> Helper | None:
        """The monitor of the container whose id is a part of the name."""
        for part in name.split("/"):
            if len(part) == 64 and part in self.helpers:
                return self.helpers[part]
        return None

    def _pass_on(self, helper: Helper, verb: str, name: str, descriptors: list[int]) -> None:
        """``put NAME`` with descriptors or ``drop NAME``, as one packet; who is dead gets all with its
        successor."""
        if helper.channel is None:
            return
        try:
            if helper.name == _NETD:
                sockets.send(helper.channel, f"{verb} {name}".encode(), descriptors)
            else:
                protocol.request(helper.channel, verb, descriptors, name=name)
        except BlockingIOError:  # it listens no more; its successor will, and gets everything
            kill(helper.pid)
        except OSError:  # it has died: `_hear` will be told
            return

    # monitors -----------------------------------------------------------------------------------------------

    def _start(self, identity: str, connection: Socket, needs: Sequence[str]) -> None:
        """Fork a monitor that starts the container and answers the client itself.

        `needs` are names of descriptors without which there is no point: a killed keeper's are lost where no
        monitor had them.
        """
        self._catch_up(self.helpers.get(identity))
        helper = self.helpers.get(identity)
        if helper is not None and helper.channel is not None:
            raise protocol.refusal(f"container {identity[:12]} is running already", protocol.RUNNING)
        if any(name not in self.store for name in needs):
            raise protocol.refusal(f"container {identity[:12]}: sockets died with a keeper", protocol.LOST)
        if helper is not None and helper.timer is not None:
            helper.timer.cancel()  # the new monitor sees for itself whether the container still runs
        self._fork_monitor(identity, connection, "start")
        connection.close()

    def _catch_up(self, helper: Helper | None) -> None:
        """Hear what a monitor has just said: that a run is over, and what it needs no more."""
        while helper is not None and helper.channel is not None and readable(helper.channel.fileno()):
            self._hear(helper)

    def _is_busy(self, identity: str) -> bool:
        """Whether a monitor works for the container, be it that it has not yet begun or not quite ended."""
        self._catch_up(self.helpers.get(identity))
        helper = self.helpers.get(identity)
        return helper is not None and (helper.channel is not None or helper.timer is not None)

    def _adopt(self, identity: str) -> Message:
        helper = self.helpers.get(identity)
        if helper is None or (helper.channel is None and helper.timer is None):
            self._fork_monitor(identity, None, "adopt")
        return {}

    def _fork_monitor(self, identity: str, connection: Socket | None, task: str) -> None:
        helper = self.helpers.setdefault(identity, Helper(identity))
        helper.timer = None
        ours, theirs = sockets.pair()
        pid = os.fork()
        if pid == 0:
            self._become_monitor(identity, connection, task, ours, theirs)
        theirs.close()
        self._watch(helper, ours, pid)

    def _become_monitor(
        self, identity: str, connection: Socket | None, task: str, ours: Socket, channel: Socket
    ) -> None:
        """In the child: let go of what is not this container's, and be its monitor. Never returns."""
        status = 1
        try:
            process.set_name(f"pc-{identity}")
            own = {name: fds for name, fds in self.store.items() if identity in name.split("/")}
            self._let_go(own)
            ours.close()
            from compose.runtime.supervision import monitor

            context = monitor.Context(self.paths, self.project, identity, self.isolation, self.base)
            monitor.main(context, channel, connection, own, task)
            status = 0
        except BaseException as error:
            complain(self.paths, self.project, f"monitor {identity[:12]}", error)
        finally:
            os._exit(status)

    def _register(self, identity: str, pid: int, connection: Socket) -> None:
        """A monitor that outlived the former keeper; the connection is its channel from now on."""
        helper = self.helpers.setdefault(identity, Helper(identity))
        if helper.channel is not None:
            raise ContainerError(f"container {identity[:12]} has a monitor already")
        self._watch(helper, connection, pid)
        protocol.answer(connection)

    def _watch(self, helper: Helper, channel: Socket, pid: int) -> None:
        helper.channel, helper.pid, helper.began = channel, pid, time.monotonic()
        channel.setblocking(False)
        self.loop.reader(channel.fileno(), lambda: self._hear(helper))

    def _hear(self, helper: Helper) -> None:
        """A monitor says something, or has died. netd says nothing."""
        assert helper.channel is not None
        try:
            message, received = protocol.receive(helper.channel)
        except (OSError, ValueError):
            return
        if message is None:
            self._lost(helper)
            return
        op = message.get("op")
        if op == "put":
            place = 0
            for name, count in message["names"]:
                self._hold(name, received[place : place + count], origin=helper.name)
                place += count
        elif op == "drop":
            self._drop(message["names"], origin=helper.name)
        elif op == "reaped":
            code = self.reaper.status(message["pid"], message["start_time"])
            protocol.answer(helper.channel, exit_code=code)
        elif op == "done":
            self._forget_monitor(helper)

    def _forget_monitor(self, helper: Helper) -> None:
        """The container has ended for good, and its monitor ends now."""
        self._close_channel(helper)
        self.helpers.pop(helper.name, None)
        prefix = f"{OWN_PREFIX}{helper.name}/"
        for name in [name for name in self.store if name.startswith(prefix)]:
            close_all(self.store.pop(name))

    def _close_channel(self, helper: Helper) -> None:
        if helper.channel is not None:
            self.loop.forget(helper.channel.fileno())
            helper.channel.close()
            helper.channel = None

    def _lost(self, helper: Helper) -> None:
        """A helper died: replace it, at once if it lived well."""
        self._close_channel(helper)
        if helper.name == _NETD and (self.stopping or not self._netd_descriptors()):
            del self.helpers[_NETD]
            return
        helper.failures = 0 if time.monotonic() - helper.began > _GOOD_LIFE else helper.failures + 1
        pause = 0.0 if helper.failures < 3 else min(0.01 * 2.0**helper.failures, _LONGEST_PAUSE)
        if helper.name == _NETD:
            helper.timer = self.loop.after(pause, self._fork_netd)
        else:
            helper.timer = self.loop.after(pause, lambda: self._fork_monitor(helper.name, None, "adopt"))

    # netd ---------------------------------------------------------------------------------------------------

    def _netd_descriptors(self) -> dict[str, list[int]]:
        return {name: fds for name, fds in self.store.items() if not name.startswith(OWN_PREFIX)}

    def _fork_netd(self) -> None:
        helper = self.helpers.setdefault(_NETD, Helper(_NETD))
        helper.timer = None
        if self.stopping:
            del self.helpers[_NETD]
            return
        ours, theirs = sockets.pair()
        pid = os.fork()
        if pid == 0:
            self._become_netd(ours, theirs)
        theirs.close()
        self._watch(helper, ours, pid)

    def _become_netd(self, ours: Socket, control: Socket) -> None:
        """In the child: be netd. Never returns."""
        status = 1
        try:
            process.set_name("pc-netd")
            own = self._netd_descriptors()
            self._let_go(own)
            ours.close()
            module = __import__(self.netd_module, fromlist=["main"])
            module.main(control.detach(), own, self.project, self.paths.run, give_back=self._give_back)
            status = 0
        except BaseException as error:
            complain(self.paths, self.project, "netd", error)
        finally:
            os._exit(status)

    def _give_back(self, held: dict[str, list[int]]) -> bool:
        """In netd, when the keeper has died."""
        from compose.runtime.supervision import heir

        return heir.give_back(self.paths, self.project, held)

    def _let_go(self, own: dict[str, list[int]]) -> None:
        """After a fork: close the keeper's descriptors but for `own`."""
        self.reaper.close()
        self.loop.close()
        self.listener.close()
        for helper in self.helpers.values():
            if helper.channel is not None:
                helper.channel.close()
        for waiting in self._waiting.values():
            for connection in waiting:
                connection.close()
        for name, descriptors in self.store.items():
            if name not in own:
                close_all(descriptors)

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

    def _set_stopping(self, stopping: bool) -> Message:
        if stopping != self.stopping:
            self.stopping = stopping
            self.record()
        if not stopping and self._netd_descriptors() and _NETD not in self.helpers:
            self._fork_netd()
        return {}

    def _shutdown(self, connection: Socket, *, force: bool) -> None:
        for helper in list(self.helpers.values()):
            self._catch_up(helper)
        running = [helper for name, helper in self.helpers.items() if name != _NETD and helper.channel]
        if running and not force:
            raise ContainerError(f"{len(running)} containers of project {self.project} still run")
        self._set_stopping(True)
        for helper in running:
            self._pass_on(helper, "end", "", [])
        self.loop.forget(self.listener.fileno())
        children.remove_file(f"{self.paths.project_run(self.project)}/{protocol.KEEPER_SOCKET}")
        own = process.pidfd_open(os.getpid())
        protocol.answer(connection, (own,), base=self.base)
        os.close(own)
        self.loop.after(0.0, self._end)

    def _end(self) -> None:
        """Leave when netd and the monitors have left."""
        netd = self.helpers.pop(_NETD, None)
        if netd is not None and netd.channel is not None:
            self._close_channel(netd)
            children.end_child(netd.pid)
        if any(helper.channel is not None for helper in self.helpers.values()):
            self.loop.after(0.01, self._end)
            return
        remove_records(self.paths.project_run(self.project))
        self.loop.stop()


def kill(pid: int) -> None:
    """SIGKILL to a helper whose channel is still open, and which therefore has its number."""
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return


def close_all(descriptors: list[int]) -> None:
    """Close every descriptor and forget its number."""
    for number in descriptors:
        os.close(number)
    descriptors.clear()


def complain(paths: Paths, project: str, who: str, error: BaseException) -> None:
    """Leave a trace of an error in a process that has nobody to tell; at most 64 KiB of them a project."""
    import traceback

    text = "".join(traceback.format_exception(error))
    path = f"{paths.project_run(project)}/errors.log"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size < 65536:
                os.write(descriptor, f"{who}: {text}".encode("utf-8", "replace"))
        finally:
            os.close(descriptor)
    except OSError:
        pass


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
        keeper = Keeper(options, isolation, base)
        keeper.record()
        share_memory()
        keeper.run()
    except BaseException as error:
        complain(paths, options["project"], "keeper", error)
        raise


def share_memory() -> None:
    """Load what monitors need, and put it where the collector of the forked processes will not touch it."""
    __import__("compose.runtime.supervision.monitor")
    __import__("compose.runtime.container.capabilities", fromlist=["available"]).available()
    gc.collect()
    gc.freeze()
