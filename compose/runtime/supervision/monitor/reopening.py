"""Opens a container's published ports and name sockets again when everybody who held them was killed at once.

Keeper, netd and monitor hold them: whoever is left gives them back. When nobody is left the container lives
on and its sockets are gone. So a monitor writes down where they are bound (sockets.json), and a successor to
whom nobody gives them binds others there: the addresses stay the same, and so do the rules inside the
container that lead to them.

What cannot be had yet stands in state.json (`lost`) and is tried again, later and later: netd may be about to
give it back, or another program has taken the port meanwhile, and may end.
"""

from __future__ import annotations

import _socket
import errno
import os

from compose.errors import StateError
from compose.linux import namespaces
from compose.runtime import records
from compose.runtime.spec import SOCKETS_FILE, VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from compose.runtime.loop import Timer
    from compose.runtime.supervision.monitor.monitor import Monitor

    Place = list[Any]
    """Family, type, and an address as bind(2) wants it."""

_SETTLED = 0.05
"""Seconds after which descriptors that come one by one are written down together."""
_FIRST_RETRY = 0.1
_LONGEST_RETRY = 10.0
_BACKLOG = 4096
_OWN_PREFIX = "monitor/"
_INSIDE = "dns/"
"""Names below it are of sockets in the container's network namespace, all others of the host's."""


class Reopening:
    """What one monitor knows of the sockets of its container."""

    __slots__ = ("_at_home", "_known", "_missing", "_monitor", "_pause", "_record_timer", "_retry_timer")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._known: dict[str, list[Place]] = {}
        """What is written down."""
        self._missing: dict[str, list[Place]] = {}
        self._at_home = True
        """Whether we are in the network namespace in which the ports were published."""
        self._pause = _FIRST_RETRY
        self._record_timer: Timer | None = None
        self._retry_timer: Timer | None = None

    def record(self) -> None:
        """Write down where the sockets are bound, unless that is known."""
        self._record_timer = None
        found = {
            name: places
            for name, numbers in self._monitor.link.held.items()
            if not name.startswith(_OWN_PREFIX) and (places := _places(numbers))
        }
        found = {**self._missing, **found}
        if found == self._known:
            return
        self._known = found
        try:
            records.write(self._path(), {"version": VERSION, "host": _host(), "sockets": found})
        except OSError:  # a full disk must not end a container
            return

    def changed(self) -> None:
        """The engine, or an heir of a former keeper, has given or taken something."""
        if self._missing:
            self._note({name: places for name, places in self._missing.items() if not self._has(name)})
        if self._record_timer is None and self._monitor.pid:
            self._record_timer = self._monitor.loop.after(_SETTLED, self.record)

    def begin(self) -> None:
        """Open what is written down, and what nobody has given to us."""
        try:
            record = records.read(self._path())
            self._known = dict(record["sockets"])
            self._at_home = record["host"] == _host()
        except (StateError, KeyError, TypeError, ValueError):
            self._known = {}
        self._missing = {name: places for name, places in self._known.items() if not self._has(name)}
        self._monitor.state.pop("lost", None)
        self._try()

    def end(self) -> None:
        """The container has ended for good."""
        for timer in (self._record_timer, self._retry_timer):
            if timer is not None:
                timer.cancel()
        self._missing = {}
        self._monitor.state.pop("lost", None)

    def _try(self) -> None:
        self._retry_timer = None
        opened: dict[str, list[int]] = {}
        for name, places in self._missing.items():
            try:
                opened[name] = self._open(name, places)
            except (OSError, TypeError, ValueError):
                continue
        self._monitor.link.give(opened)
        self._note({name: places for name, places in self._missing.items() if name not in opened})

    def _note(self, missing: dict[str, list[Place]]) -> None:
        """Let state.json say what is missing now, and try that again some time."""
        self._missing = missing
        state = self._monitor.state
        if sorted(missing) != state.get("lost", []):
            if missing:
                state["lost"] = sorted(missing)
            else:
                state.pop("lost", None)
            self._monitor.write()
        if missing and self._retry_timer is None:
            self._retry_timer = self._monitor.loop.after(self._pause, self._try)
            self._pause = min(self._pause * 2, _LONGEST_RETRY)

    def _has(self, name: str) -> bool:
        return name in self._monitor.link.held

    def _path(self) -> str:
        return f"{self._monitor.paths.container(self._monitor.identity)}/{SOCKETS_FILE}"

    def _open(self, name: str, places: Sequence[Place]) -> list[int]:
        """Sockets like those of this name, and bound as they were. Raises `OSError`."""
        if not name.startswith(_INSIDE):
            if not self._at_home:
                raise OSError(errno.EADDRNOTAVAIL, "we were started in another network namespace")
            return _bind_all(places)
        there = self._monitor.paths.container_namespace(self._monitor.identity)
        with namespaces.in_network(there, os.O_NOFOLLOW):
            return _bind_all(places)


def _host() -> str:
    """The network namespace in which published ports are opened."""
    found = os.stat("/proc/thread-self/ns/net")
    return f"{found.st_dev}:{found.st_ino}"


def _places(numbers: Sequence[int]) -> list[Place]:
    """Where sockets are bound; nothing for what is no socket of a network."""
    found: list[Place] = []
    for number in numbers:
        try:
            bound = _socket.socket(fileno=number)
        except OSError:
            return []
        try:
            if bound.family not in (_socket.AF_INET, _socket.AF_INET6):
                return []
            found.append([int(bound.family), int(bound.type), *bound.getsockname()])
        finally:
            bound.detach()
    return found


def _bind_all(places: Sequence[Place]) -> list[int]:
    """Sockets bound at these places, all or none. Raises `OSError`."""
    made: list[int] = []
    try:
        for family, kind, *address in places:
            made.append(_bind(family, kind, tuple(address)))
    except BaseException:
        for number in made:
            os.close(number)
        raise
    return made


def _bind(family: int, kind: int, address: tuple[Any, ...]) -> int:
    made = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        if family == _socket.AF_INET6:
            made.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if kind == _socket.SOCK_STREAM:  # connections of the former one may linger
            made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        made.bind(address)
        if kind == _socket.SOCK_STREAM:
            made.listen(_BACKLOG)
        return made.detach()
    except BaseException:
        made.close()
        raise
