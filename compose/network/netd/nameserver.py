"""The name service of each container: a UDP and a TCP socket in its namespace, answered from the table.

Which socket a question comes in by says who asks, so that no container can ask for another.
"""

from __future__ import annotations

import _socket

from compose.network.netd import names
from compose.network.netd.loop import ERR, HUP, IN, OUT
from compose.network.netd.table import answer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compose.network.netd.loop import Loop
    from compose.network.netd.resolvers import Resolvers
    from compose.network.netd.table import Table

_ROUND = 64  # datagrams of one container in one round
_MOST_CLIENTS = 64  # TCP connections of one container
_MOST_ASKED = 16  # questions of one connection that wait for resolvers
_MOST_UNSENT = 131072  # bytes that wait for a client which does not read
_IDLE = 10.0  # seconds


class NameServer:
    """Serves every container of the project. `host` tells the address of ``host.docker.internal``."""

    def __init__(
        self, loop: Loop, table: Table, resolvers: Resolvers, host: Callable[[Sequence[str]], str]
    ) -> None:
        self.loop = loop
        self.clients: set[Client] = set()
        self._table = table
        self._resolvers = resolvers
        self._host = host
        self._sockets: dict[str, tuple[_socket.socket, _socket.socket]] = {}
        self._sweeping = False

    def add(self, container: str, udp: _socket.socket, tcp: _socket.socket) -> None:
        """Serve `container` through these sockets."""
        self.remove(container)
        self._sockets[container] = (udp, tcp)
        udp.setblocking(False)
        tcp.setblocking(False)
        self.loop.add(udp.fileno(), lambda events: self._datagrams(container, udp))
        self.loop.add(tcp.fileno(), lambda events: self._accept(container, tcp))

    def remove(self, container: str) -> None:
        """Serve `container` no more."""
        for sock in self._sockets.pop(container, ()):
            self.loop.remove(sock.fileno())
            sock.close()
        for client in [client for client in self.clients if client.container == container]:
            client.close()

    def ask(
        self, container: str, client: object, message: bytes, respond: Callable[[bytes], None], *, tcp: bool
    ) -> bool:
        """Have `respond` called with the answer, now or later; false when the message deserves none."""
        view = self._table.view(container)
        found = answer(self._table, view, message, self._host, limit=65535 if tcp else 0)
        if found is None:
            return False
        if isinstance(found, names.Question):
            self._resolvers.ask(container, client, message, found, respond, tcp=tcp, own=view.resolvers)
        else:
            respond(found)
        return True

    def _datagrams(self, container: str, sock: _socket.socket) -> None:
        for _ in range(_ROUND):
            try:
                message, address = sock.recvfrom(names.LARGEST_QUERY + 1)
            except BlockingIOError:
                return
            except OSError:  # an earlier answer met a closed port
                continue

            def respond(data: bytes, address: tuple[str, int] = address) -> None:
                try:
                    sock.sendto(data, address)
                except OSError:  # who asked is gone, or will ask again
                    return

            self.ask(container, address, message, respond, tcp=False)

    def _accept(self, container: str, listener: _socket.socket) -> None:
        for _ in range(_ROUND):
            try:
                descriptor, _address = listener._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            sock = _socket.socket(listener.family, listener.type, listener.proto, descriptor)
            if sum(client.container == container for client in self.clients) >= _MOST_CLIENTS:
                sock.close()
                continue
            sock.setblocking(False)
            self.clients.add(Client(self, container, sock))
            if not self._sweeping:
                self._sweeping = True
                self.loop.after(_IDLE, self._sweep)

    def _sweep(self) -> None:
        """Close the connections on which nothing happened since the last time."""
        for client in [*self.clients]:
            if client.idle and not client.asked:
                client.close()
            client.idle = True
        self._sweeping = bool(self.clients)
        if self._sweeping:
            self.loop.after(_IDLE, self._sweep)


class Client:
    """One TCP connection of a container to its name service."""

    __slots__ = (
        "_asking",
        "_closed",
        "_ended",
        "_input",
        "_mask",
        "_output",
        "_server",
        "_socket",
        "asked",
        "container",
        "idle",
    )

    def __init__(self, server: NameServer, container: str, sock: _socket.socket) -> None:
        self.container = container
        self.asked = 0
        self.idle = False
        self._asking = False
        self._server = server
        self._socket = sock
        self._input = b""
        self._output = b""
        self._mask = IN
        self._closed = False
        self._ended = False
        server.loop.add(sock.fileno(), self._ready)

    def _ready(self, events: int) -> None:
        self.idle = False
        try:
            if events & OUT:
                self._send()
            if events & (IN | ERR | HUP):
                data = self._socket.recv(16384)
                self._input += data
                self._ended = not data
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._go_on()

    def _go_on(self) -> None:
        """Ask what has come in whole, as far as there is room for answers."""
        data, place = self._input, 0
        self._asking = True
        while not self._closed and self.asked < _MOST_ASKED and len(self._output) < _MOST_UNSENT:
            start = place + 2
            end = start + int.from_bytes(data[place:start], "big")
            if len(data) < start or len(data) < end:
                break
            place = end
            self.asked += 1
            if not self._server.ask(self.container, object(), data[start:end], self._respond, tcp=True):
                self.asked -= 1
        self._asking = False
        self._input = data[place:]
        if self._closed:
            return
        if self._ended and not self.asked and not self._output:
            self.close()
            return
        full = self._ended or len(self._input) > 2 + 65535
        mask = (0 if full else IN) | (OUT if self._output else 0)
        if mask != self._mask:
            self._mask = mask
            self._server.loop.modify(self._socket.fileno(), mask)

    def _respond(self, data: bytes) -> None:
        self.asked -= 1
        if self._closed:
            return
        self.idle = False
        self._output += len(data).to_bytes(2, "big") + data
        try:
            self._send()
        except OSError:
            self.close()
            return
        if not self._asking:
            self._go_on()

    def _send(self) -> None:
        try:
            self._output = self._output[self._socket.send(self._output) :]
        except BlockingIOError:
            return

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._server.clients.discard(self)
            self._server.loop.close(self._socket)
