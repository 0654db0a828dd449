"""The keeper's children: monitors and netd, forked, given their descriptors, and replaced when they die.

What the keeper holds has names. A name with a container's id in it goes to that container's monitor too,
which thereby gives a new keeper everything back when this one dies. Names below ``monitor/ID/`` are a
monitor's own (the read ends of output, the pidfd, ...), all others are netd's.
"""

from __future__ import annotations

import os
import time

from compose.errors import ContainerError
from compose.linux import process, sockets
from compose.linux.files import readable, writable
from compose.runtime import protocol
from compose.runtime.supervision import children
from compose.runtime.supervision.complaints import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from compose.linux.sockets import Socket
    from compose.runtime.loop import Loop, Timer
    from compose.runtime.supervision.children import Reaper
    from compose.state.paths import Paths

    Become = Callable[[Socket, dict[str, list[int]]], None]

NETD = "netd"
OWN_PREFIX = "monitor/"
"""Names below it belong to monitors; netd never sees them."""

_GOOD_LIFE = 2.0
"""Seconds; a helper that lived shorter is replaced later and later."""
_LONGEST_PAUSE = 0.8
_SIGKILL = 9
_PATIENCE = 1.0
"""Seconds that a helper has to make room for what it is told: many ports come at once."""


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

    @property
    def works(self) -> bool:
        """Whether it lives, or its successor is about to."""
        return self.channel is not None or self.timer is not None

    def pass_on(self, verb: str, name: str, descriptors: list[int]) -> None:
        """``put NAME`` with descriptors or ``drop NAME``, as one packet; who is dead gets all with its
        successor."""
        if self.channel is None:
            return
        try:
            self._send(verb, name, descriptors)
        except BlockingIOError:  # it listens no more; its successor will, and gets everything
            self._kill()
        except OSError:  # it has died: the keeper will be told
            return

    def _send(self, verb: str, name: str, descriptors: list[int]) -> None:
        """Send one packet, to one that is busy as soon as it has read some. Raises `OSError`."""
        assert self.channel is not None
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                if self.name == NETD:
                    sockets.send(self.channel, f"{verb} {name}".encode(), descriptors)
                else:
                    protocol.request(self.channel, verb, descriptors, name=name)
                return
            except BlockingIOError:
                left = deadline - time.monotonic()
                if left <= 0 or not writable(self.channel.fileno(), left):
                    raise

    def _kill(self) -> None:
        """SIGKILL; its channel is still open, and therefore it has its number."""
        try:
            os.kill(self.pid, _SIGKILL)
        except ProcessLookupError:
            return


class Settings:
    """What a keeper was told: for whom it works, and with which modules."""

    __slots__ = ("base", "isolation", "netd", "paths", "project")

    def __init__(self, paths: Paths, project: str, netd: str, isolation: Any, base: str) -> None:
        self.paths = paths
        self.project = project
        self.netd = netd
        """The name of netd's module."""
        self.isolation = isolation
        """The module `compose.runtime.supervision.isolation`, or a test's."""
        self.base = base
        """The control group below which the project's containers have theirs."""


class Helpers:
    """All of them, and the descriptors that outlive them."""

    def __init__(
        self, settings: Settings, loop: Loop, reaper: Reaper, let_go: Callable[[], None], *, stopping: bool
    ) -> None:
        """`let_go` is called in every child, and closes what is the keeper's alone."""
        self._settings = settings
        self._loop = loop
        self._reaper = reaper
        self._let_go_of_keeper = let_go
        self._members: dict[str, Helper] = {}
        self._store: dict[str, list[int]] = {}
        self.stopping = stopping
        """Whether the project goes down: then netd is not replaced."""

    # descriptors --------------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """The names of what is held for the engine."""
        return list(self._of_netd())

    def has(self, name: str) -> bool:
        """Whether there are descriptors of this name."""
        return name in self._store

    def put(self, names: list[list[Any]], received: list[int], *, origin: str = "") -> None:
        """Keep descriptors, pairs of a name and how many of `received` are its; `origin` has them already."""
        for name, count in names:
            if not origin:
                self._catch_up(self._owner(name))
            own, received[:count] = received[:count], []  # whoever closes the rest leaves them alone
            self._hold(name, own, origin=origin)

    def _hold(self, name: str, descriptors: list[int], *, origin: str) -> None:
        """Keep descriptors, and give copies to whoever is concerned."""
        close_all(self._store.get(name, []))
        self._store[name] = descriptors
        owner = self._owner(name)
        if owner is not None and owner.name != origin:
            owner.pass_on("put", name, descriptors)
        if not name.startswith(OWN_PREFIX):
            netd = self._members.get(NETD)
            if netd is None:
                self._fork_netd()
            else:
                netd.pass_on("put", name, descriptors)

    def drop(self, names: list[str], *, origin: str = "") -> None:
        """Close what is held under these names, here and where copies are."""
        for name in names:
            owner = self._owner(name)
            if owner is not None and owner.name != origin:
                owner.pass_on("drop", name, [])
            netd = self._members.get(NETD)
            if netd is not None and not name.startswith(OWN_PREFIX):
                netd.pass_on("drop", name, [])
            close_all(self._store.pop(name, []))

    def _owner(self, name: str) -> Helper | None:
        """The monitor of the container whose id is a part of the name."""
        for part in name.split("/"):
            if len(part) == 64 and part in self._members:
                return self._members[part]
        return None

    def _of_netd(self) -> dict[str, list[int]]:
        return {name: fds for name, fds in self._store.items() if not name.startswith(OWN_PREFIX)}

    def _of_monitor(self, identity: str) -> dict[str, list[int]]:
        return {name: fds for name, fds in self._store.items() if identity in name.split("/")}

    # monitors -----------------------------------------------------------------------------------------------

    def start(self, identity: str, connection: Socket) -> None:
        """Fork a monitor that starts the container and answers the client itself."""
        helper = self._members.get(identity)
        if helper is None or helper.timer is None:
            self._fork_monitor(identity, connection, "start")
            return
        helper.timer.cancel()  # the new monitor sees for itself whether the container still runs
        try:
            self._fork_monitor(identity, connection, "start")
        except OSError:
            self._replace(helper)
            raise

    def adopt(self, identity: str) -> None:
        """Give the container a monitor that takes over, unless it has one."""
        helper = self._members.get(identity)
        if helper is None or not helper.works:
            self._fork_monitor(identity, None, "adopt")

    def register(self, identity: str, pid: int, channel: Socket) -> None:
        """Take on a monitor that outlived the former keeper. Raises `ContainerError`."""
        helper = self._members.setdefault(identity, Helper(identity))
        if helper.channel is not None:
            raise ContainerError(f"container {identity[:12]} has a monitor already")
        self._watch(helper, channel, pid)

    def watches(self, identity: str) -> bool:
        """Whether a monitor of the container lives."""
        self._catch_up(self._members.get(identity))
        helper = self._members.get(identity)
        return helper is not None and helper.channel is not None

    def is_busy(self, identity: str) -> bool:
        """Whether a monitor works for the container, be it that it has not yet begun or not quite ended."""
        self._catch_up(self._members.get(identity))
        helper = self._members.get(identity)
        return helper is not None and helper.works

    def monitors(self) -> list[Helper]:
        """The monitors that live."""
        for helper in list(self._members.values()):
            self._catch_up(helper)
        return [helper for name, helper in self._members.items() if name != NETD and helper.channel]

    def _fork_monitor(self, identity: str, connection: Socket | None, task: str) -> None:
        def become(channel: Socket, own: dict[str, list[int]]) -> None:
            process.set_name(f"pc-{identity}")
            from compose.runtime.supervision.monitor import monitor

            to = self._settings
            context = monitor.Context(to.paths, to.project, identity, to.isolation, to.base)
            monitor.main(context, channel, connection, own, task)

        self._fork(identity, self._of_monitor(identity), become)

    # netd ---------------------------------------------------------------------------------------------------

    def begin_netd(self) -> None:
        """Fork netd if it is wanted and not there."""
        if not self.stopping and self._of_netd() and NETD not in self._members:
            self._fork_netd()

    def end_netd(self) -> None:
        """Kill netd, for good."""
        netd = self._members.pop(NETD, None)
        if netd is not None and netd.channel is not None:
            self._close_channel(netd)
            children.end_child(netd.pid)

    def _fork_netd(self) -> None:
        if self.stopping:
            self._members.pop(NETD, None)
            return

        def become(control: Socket, own: dict[str, list[int]]) -> None:
            process.set_name("pc-netd")
            to = self._settings
            module = __import__(to.netd, fromlist=["main"])
            module.main(control.detach(), own, to.project, to.paths.run, give_back=self._give_back)

        self._try(NETD, lambda: self._fork(NETD, self._of_netd(), become))

    def _give_back(self, held: dict[str, list[int]]) -> bool:
        """In netd, when the keeper has died."""
        from compose.runtime.supervision import heir

        return heir.give_back(self._settings.paths, self._settings.project, held)

    # processes ----------------------------------------------------------------------------------------------

    def _try(self, name: str, fork: Callable[[], None]) -> None:
        """Fork a helper; later, when there is no memory or no descriptor for that: what is its is held."""
        try:
            fork()
        except OSError as error:
            complain(self._settings.paths, self._settings.project, name, error)
            self._replace(self._members[name])

    def _fork(self, name: str, own: dict[str, list[int]], become: Become) -> None:
        """Fork a helper, which gets its descriptors and its end of a channel."""
        helper = self._members.setdefault(name, Helper(name))
        helper.timer, helper.began = None, time.monotonic()
        ours, theirs = sockets.pair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            self._live(name, ours, lambda: become(theirs, own), own)
        theirs.close()
        self._watch(helper, ours, pid)

    def _live(self, name: str, ours: Socket, life: Callable[[], None], own: dict[str, list[int]]) -> NoReturn:
        """In the child: let go of what is not its own, and live."""
        status = 1
        try:
            self._let_go(own)
            ours.close()
            life()
            status = 0
        except BaseException as error:
            who = name if name == NETD else f"monitor {name[:12]}"
            complain(self._settings.paths, self._settings.project, who, error)
        finally:
            os._exit(status)

    def _let_go(self, own: dict[str, list[int]]) -> None:
        """After a fork: close the keeper's descriptors but for `own`."""
        self._let_go_of_keeper()
        for helper in self._members.values():
            if helper.channel is not None:
                helper.channel.close()
        for name, descriptors in self._store.items():
            if name not in own:
                close_all(descriptors)

    def _watch(self, helper: Helper, channel: Socket, pid: int) -> None:
        helper.channel, helper.pid, helper.began = channel, pid, time.monotonic()
        channel.setblocking(False)
        self._loop.reader(channel.fileno(), lambda: self._hear(helper))

    def _catch_up(self, helper: Helper | None) -> None:
        """Hear what a monitor has just said: that a run is over, and what it needs no more."""
        while helper is not None and helper.channel is not None and readable(helper.channel.fileno()):
            self._hear(helper)

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
            self.put(message["names"], received, origin=helper.name)
        elif op == "drop":
            self.drop(message["names"], origin=helper.name)
        elif op == "reaped":
            code = self._reaper.status(message["pid"], message["start_time"])
            protocol.answer(helper.channel, exit_code=code)
        elif op == "done":
            self._forget_monitor(helper)

    def _forget_monitor(self, helper: Helper) -> None:
        """The container has ended for good, and its monitor ends now."""
        self._close_channel(helper)
        self._members.pop(helper.name, None)
        prefix = f"{OWN_PREFIX}{helper.name}/"
        for name in [name for name in self._store if name.startswith(prefix)]:
            close_all(self._store.pop(name))

    def _close_channel(self, helper: Helper) -> None:
        if helper.channel is not None:
            self._loop.forget(helper.channel.fileno())
            helper.channel.close()
            helper.channel = None

    def _lost(self, helper: Helper) -> None:
        """A helper died: replace it, at once if it lived well."""
        self._close_channel(helper)
        if helper.name == NETD and (self.stopping or not self._of_netd()):
            del self._members[NETD]
            return
        self._replace(helper)

    def _replace(self, helper: Helper) -> None:
        """Fork it again, later and later if it did not live long."""
        helper.failures = 0 if time.monotonic() - helper.began > _GOOD_LIFE else helper.failures + 1
        pause = 0.0 if helper.failures < 3 else min(0.01 * 2.0**helper.failures, _LONGEST_PAUSE)
        if helper.name == NETD:
            helper.timer = self._loop.after(pause, self._fork_netd)
        else:
            helper.timer = self._loop.after(pause, lambda: self._adopt_again(helper.name))

    def _adopt_again(self, identity: str) -> None:
        self._try(identity, lambda: self._fork_monitor(identity, None, "adopt"))


def close_all(descriptors: list[int]) -> None:
    """Close every descriptor and forget its number."""
    for number in descriptors:
        os.close(number)
    descriptors.clear()
