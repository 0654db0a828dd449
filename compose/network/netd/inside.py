"""Sockets in other network namespaces, for a process that itself stays in the host's.

A socket belongs for ever to the namespace of the thread that made it. So a second thread enters the project's
sandbox, or another one that its containers have a network in, and only makes sockets there, ahead of need.
The main thread binds, connects and uses them.
"""

from __future__ import annotations

import _queue
import _socket
import _thread
import os

from compose.linux.namespaces import CLONE_NEWNET, setns
from compose.network.netd.loop import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.network.netd.loop import Loop

    Kind = tuple[int, int]  # family, type
    Taker = Callable[[_socket.socket | None], None]

_IP_TRANSPARENT, _IP_BIND_ADDRESS_NO_PORT, _IPV6_TRANSPARENT = 19, 24, 75
_SPARE = {_socket.SOCK_STREAM: 32, _socket.SOCK_DGRAM: 2}
# All connections of one client to one port differ only in the number that is chosen here: let there be many.
_SETTINGS = {"ip_local_port_range": "1024\t65535", "tcp_tw_reuse": "1"}
_SYN_RETRIES = 4  # a container that does not answer is given up after about 30 s
KEEPALIVE = (
    (_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1),
    (_socket.IPPROTO_TCP, _socket.TCP_KEEPIDLE, 120),
    (_socket.IPPROTO_TCP, _socket.TCP_KEEPINTVL, 30),
    (_socket.IPPROTO_TCP, _socket.TCP_KEEPCNT, 4),
    (_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1),
)


class Inside:
    """Makes sockets in other namespaces: `place` says where. The thread starts with the first request."""

    def __init__(self, loop: Loop, report: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self._report = report
        self._places: dict[str, Place] = {}
        self._orders: _queue.SimpleQueue[tuple[Place, Kind, int]] = _queue.SimpleQueue()
        self._made: _queue.SimpleQueue[tuple[Place, Kind, _socket.socket | None]] = _queue.SimpleQueue()
        self._signal = -1

    def place(self, path: str) -> Place:
        """The sandbox that `path` pins, with a stock of sockets."""
        found = self._places.get(path)
        if found is None:
            found = self._places[path] = Place(self, path, _SPARE)
        return found

    def visit(self, path: str) -> Place:
        """A namespace that gets a socket now and then, none of them ahead of need."""
        return Place(self, path, {})

    def forget(self, path: str) -> None:
        """Nobody needs this place any more; what may be pinned there later is another one."""
        self._places.pop(path, None)

    def order(self, place: Place, kind: Kind, count: int) -> None:
        if self._signal < 0:
            self._signal = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._loop.add(self._signal, self._deliver, IN)
            _thread.start_new_thread(self._work, ())
        self._orders.put((place, kind, count))

    def _deliver(self, events: int) -> None:
        os.eventfd_read(self._signal)
        failed: dict[tuple[int, Kind], Place] = {}
        while not self._made.empty():
            place, kind, sock = self._made.get()
            place.ordered[kind] -= 1
            if sock is None:
                failed[id(place), kind] = place
            elif waiting := place.waiting.get(kind):
                self._hand(waiting.pop(0), sock)
            else:
                place.stock.setdefault(kind, []).append(sock)
        for (_, kind), place in failed.items():
            for taker in place.waiting.pop(kind, ()):
                self._hand(taker, None)

    def _hand(self, taker: Taker, sock: _socket.socket | None) -> None:
        try:
            taker(sock)
        except Exception as error:  # one taker's failure is not the next one's
            self._report(error)

    # From here on: the second thread.

    def _work(self) -> None:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        entered: Place | None = None
        while True:
            place, kind, count = self._orders.get()
            try:
                if place is not entered:
                    entered = None
                    self._enter(place)
                    entered = place
                for index in range(count):
                    self._made.put((place, kind, _make(*kind)))
                    if index % 32 == 31:
                        os.eventfd_write(self._signal, 1)
                    count -= 1
            except Exception as error:
                self._report(error)
                for _ in range(count):
                    self._made.put((place, kind, None))
            if not place.spare:  # a container that goes shall not find its namespace held by us
                entered = None
                setns(home, CLONE_NEWNET)
            os.eventfd_write(self._signal, 1)

    def _enter(self, place: Place) -> None:
        descriptor = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(descriptor, CLONE_NEWNET)
        finally:
            os.close(descriptor)
        if not place.spare or place.prepared:
            return
        place.prepared = True
        for name, value in _SETTINGS.items():
            try:
                with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
                    file.write(value)
            except OSError as error:  # fewer connections a minute, no more
                self._report(error)


class Place:
    """One namespace, and the fresh, non-blocking sockets in it that nobody has taken yet.

    While no namespace is pinned at `path`, takers get None. `spare` tells how many of a type are in stock.
    """

    __slots__ = ("_inside", "ordered", "path", "prepared", "spare", "stock", "waiting")

    def __init__(self, inside: Inside, path: str, spare: dict[int, int]) -> None:
        self.path = path
        self.spare = spare
        self.prepared = False
        self.stock: dict[Kind, list[_socket.socket]] = {}
        self.ordered: dict[Kind, int] = {}
        self.waiting: dict[Kind, list[Taker]] = {}
        self._inside = inside

    def take(self, family: int, kind: int, taker: Taker) -> None:
        """Call `taker` with a socket, at once when there is one."""
        key = (family, kind)
        stock = self.stock.get(key)
        if stock:
            sock = stock.pop()
            if len(stock) < self.spare.get(kind, 0) // 2:
                self._order(key, 0)
            taker(sock)
            return
        waiting = self.waiting.setdefault(key, [])
        waiting.append(taker)
        self._order(key, len(waiting))

    def prepare(self, family: int, kind: int) -> None:
        """Have some sockets of this kind in stock."""
        self._order((family, kind), 0)

    def _order(self, key: Kind, needed: int) -> None:
        there = len(self.stock.get(key, ())) + self.ordered.get(key, 0)
        missing = needed + self.spare.get(key[1], 0) - there
        if missing > 0:
            self.ordered[key] = self.ordered.get(key, 0) + missing
            self._inside.order(self, key, missing)


def _make(family: int, kind: int) -> _socket.socket:
    sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    options = [(_socket.IPPROTO_IP, _IP_TRANSPARENT, 1)]
    if family == _socket.AF_INET6:
        options = [(_socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)]
    if kind == _socket.SOCK_STREAM:
        options += [(_socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1), *KEEPALIVE]
        options.append((_socket.IPPROTO_TCP, _socket.TCP_SYNCNT, _SYN_RETRIES))
    for option in options:
        try:
            sock.setsockopt(*option)
        except OSError:  # without transparency the container sees the gateway: served, if less well
            continue
    return sock


def bind_as(sock: _socket.socket, client: str, target: str) -> None:
    """Let `sock` appear inside with the address of `client`, where that can be.

    Loopback addresses mean nothing outside their own namespace, and answers to a neighbour of the container
    would go straight to that one; those clients, and those of another family, appear as the gateway.
    """
    if client.startswith("::ffff:"):
        client = client[7:]
    if (":" in client) != (":" in target) or client == target or client.startswith("127.") or client == "::1":
        return
    if client.rpartition(".")[0] == target.rpartition(".")[0] != "":  # the same /24, what our networks are
        return
    try:
        sock.bind((client, 0))
    except OSError:
        return
