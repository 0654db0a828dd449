"""Published UDP ports: one flow a client address, with a socket of its own inside, forgotten when it is idle.

Answers leave from the address that the client has sent to, also when the listener is bound to all addresses.
"""

from __future__ import annotations

import _socket
import time

from compose.network.netd.inside import bind_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.network.netd.inside import Place
    from compose.network.netd.loop import Loop

    Key = tuple[object, bytes]
    Ancillary = list[tuple[int, int, bytes]]

FIRST_IDLE, IDLE = 30.0, 180.0  # seconds without and after an answer, as conntrack has them
_MOST = 2048  # flows a port
_QUEUE = 16  # datagrams that wait for the socket of a new flow
_ROUND = 64  # datagrams in one round
_LARGEST = 65535
_IP_PKTINFO, _IPV6_RECVPKTINFO, _IPV6_PKTINFO = 8, 49, 50


class Flow:
    """One client of one port."""

    __slots__ = ("_client", "_forwarder", "_reply", "_socket", "_waiting", "answered", "seen")

    def __init__(self, forwarder: UDPForwarder, client: tuple[str, int], reply: Ancillary) -> None:
        self._forwarder = forwarder
        self._client = client
        self._reply = reply
        self._socket: _socket.socket | None = None
        self._waiting: list[bytes] = []
        self.answered = False
        self.seen = forwarder.clock()

    def start(self, sock: _socket.socket | None) -> None:
        """Send with `sock`, which is in the project's namespace."""
        target = self._forwarder.target
        if sock is None:
            self._forwarder.drop(self)
            return
        bind_as(sock, self._client[0], target[0])
        if sock.connect_ex(target):
            sock.close()
            self._forwarder.drop(self)
            return
        self._socket = sock
        self._forwarder.loop.add(sock.fileno(), self._answer)
        for data in self._waiting:
            self.send(data)
        self._waiting.clear()

    def send(self, data: bytes) -> None:
        """Pass a datagram of the client on; it may be lost, as datagrams are."""
        self.seen = self._forwarder.clock()
        if self._socket is None:
            if len(self._waiting) < _QUEUE:
                self._waiting.append(data)
            return
        try:
            self._socket.send(data)
        except BlockingIOError:
            return
        except OSError:  # refused before, which the send tells once
            try:
                self._socket.send(data)
            except OSError:
                return

    def _answer(self, events: int) -> None:
        sock, listener = self._socket, self._forwarder.listener
        assert sock is not None
        for _ in range(_ROUND):
            try:
                data = sock.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError:  # nobody listens inside; the next one may
                return
            self.answered = True
            self.seen = self._forwarder.clock()
            try:
                listener.sendmsg((data,), self._reply, 0, self._client)
            except OSError:
                return

    def close(self) -> None:
        if self._socket is not None:
            self._forwarder.loop.close(self._socket)
            self._socket = None


class UDPForwarder:
    """One published UDP port. `clock` is for tests."""

    def __init__(
        self,
        loop: Loop,
        inside: Place,
        listener: _socket.socket,
        target: tuple[str, int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.loop = loop
        self.target = target
        self.listener = listener
        self.flows: dict[Key, Flow] = {}
        self.inside = inside
        self.clock = clock
        self._family = _socket.AF_INET6 if ":" in target[0] else _socket.AF_INET
        self._sweeping = False
        listener.setblocking(False)
        if listener.family == _socket.AF_INET6:
            listener.setsockopt(_socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            listener.setsockopt(_socket.IPPROTO_IP, _IP_PKTINFO, 1)
        loop.add(listener.fileno(), self._receive)
        inside.prepare(self._family, _socket.SOCK_DGRAM)

    def _receive(self, events: int) -> None:
        receive, flows = self.listener.recvmsg, self.flows
        for _ in range(_ROUND):
            try:
                data, ancillary, _flags, client = receive(_LARGEST, 64)
            except BlockingIOError:
                return
            except OSError:
                continue
            reply = _reply_from(ancillary)
            key = (client, reply[0][2] if reply else b"")
            flow = flows.get(key)
            if flow is None:
                flow = self._begin(key, client, reply)
            flow.send(data)

    def _begin(self, key: Key, client: tuple[str, int], reply: Ancillary) -> Flow:
        if len(self.flows) >= _MOST:
            oldest = min(self.flows, key=lambda known: self.flows[known].seen)
            self.flows.pop(oldest).close()
        flow = self.flows[key] = Flow(self, client, reply)
        self.inside.take(self._family, _socket.SOCK_DGRAM, flow.start)
        if not self._sweeping:
            self._sweeping = True
            self.loop.after(FIRST_IDLE / 3, self.sweep)
        return flow

    def sweep(self) -> None:
        """Forget the flows that are idle."""
        now = self.clock()
        for key, flow in [*self.flows.items()]:
            if now - flow.seen > (IDLE if flow.answered else FIRST_IDLE):
                del self.flows[key]
                flow.close()
        self._sweeping = bool(self.flows)
        if self._sweeping:
            self.loop.after(FIRST_IDLE / 3, self.sweep)

    def drop(self, flow: Flow) -> None:
        """Forget a flow that could not begin."""
        for key, known in self.flows.items():
            if known is flow:
                del self.flows[key]
                return

    def close(self) -> None:
        for flow in self.flows.values():
            flow.close()
        self.flows.clear()
        self.loop.remove(self.listener.fileno())
        self.listener.close()


def _reply_from(ancillary: Ancillary) -> Ancillary:
    """What makes an answer leave from the address that the datagram came to."""
    for level, kind, data in ancillary:
        if level == _socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= 12:
            # struct in_pktinfo: interface, local address, destination. Only the address is given back: with
            # the interface answers would leave there, whatever the routes say.
            return [(level, kind, bytes(4) + data[4:8] + bytes(4))]
        if level == _socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO and len(data) >= 20:
            index = data[16:20] if data[:2] == b"\xfe\x80" else bytes(4)  # link-local: only there
            return [(level, kind, data[:16] + index)]
    return []
