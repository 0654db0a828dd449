"""Sockets in a project's network namespace, for a process that itself stays in the host's.

A socket belongs for ever to the namespace of the thread that made it. So a second thread enters the project's
namespace and does nothing but make sockets ahead of need; the main thread binds, connects and uses them.
"""

from __future__ import annotations

import _queue
import _socket
import _thread
import os

from compose.linux.namespaces import CLONE_NEWNET, setns
from compose.network.loop import IN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.network.loop import Loop

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
    """A stock of fresh, non-blocking sockets in the network namespace that `path` pins.

    The thread starts with the first request; while the namespace is not there, takers get None.
    """

    def __init__(self, loop: Loop, path: str, report: Callable[[BaseException], None]) -> None:
        self._loop = loop
        self._path = path
        self._report = report
        self._stock: dict[Kind, list[_socket.socket]] = {}
        self._ordered: dict[Kind, int] = {}
        self._waiting: dict[Kind, list[Taker]] = {}
        self._orders: _queue.SimpleQueue[tuple[Kind, int]] = _queue.SimpleQueue()
        self._made: _queue.SimpleQueue[tuple[Kind, _socket.socket | None]] = _queue.SimpleQueue()
        self._signal = -1

    def take(self, family: int, kind: int, taker: Taker) -> None:
        """Call `taker` with a socket, at once when there is one."""
        key = (family, kind)
        stock = self._stock.get(key)
        if stock:
            sock = stock.pop()
            if len(stock) < _SPARE[kind] // 2:
                self._order(key, 0)
            taker(sock)
            return
        waiting = self._waiting.setdefault(key, [])
        waiting.append(taker)
        self._order(key, len(waiting))

    def prepare(self, family: int, kind: int) -> None:
        """Have some sockets of this kind in stock."""
        self._order((family, kind), 0)

    def _order(self, key: Kind, needed: int) -> None:
        if self._signal < 0:
            self._signal = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._loop.add(self._signal, self._deliver, IN)
            _thread.start_new_thread(self._work, ())
        missing = needed + _SPARE[key[1]] - len(self._stock.get(key, ())) - self._ordered.get(key, 0)
        if missing > 0:
            self._ordered[key] = self._ordered.get(key, 0) + missing
            self._orders.put((key, missing))

    def _deliver(self, events: int) -> None:
        os.eventfd_read(self._signal)
        failed = set()
        while not self._made.empty():
            key, sock = self._made.get()
            self._ordered[key] -= 1
            if sock is None:
                failed.add(key)
            elif waiting := self._waiting.get(key):
                self._hand(waiting.pop(0), sock)
            else:
                self._stock.setdefault(key, []).append(sock)
        for key in failed:
            for taker in self._waiting.pop(key, ()):
                self._hand(taker, None)

    def _hand(self, taker: Taker, sock: _socket.socket | None) -> None:
        try:
            taker(sock)
        except Exception as error:  # one taker's failure is not the next one's
            self._report(error)

    # From here on: the second thread.

    def _work(self) -> None:
        entered = False
        while True:
            key, count = self._orders.get()
            try:
                if not entered:
                    self._enter()
                    entered = True
                for index in range(count):
                    self._made.put((key, _make(*key)))
                    if index % 32 == 31:
                        os.eventfd_write(self._signal, 1)
                    count -= 1
            except Exception as error:
                self._report(error)
                for _ in range(count):
                    self._made.put((key, None))
            os.eventfd_write(self._signal, 1)

    def _enter(self) -> None:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(descriptor, CLONE_NEWNET)
        finally:
            os.close(descriptor)
        for name, value in _SETTINGS.items():
            try:
                with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
                    file.write(value)
            except OSError as error:  # fewer connections a minute, no more
                self._report(error)


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
