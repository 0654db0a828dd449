"""Questions that are not ours, passed on to the resolvers of the host or to the container's own (``dns``).

Each try has a socket of its own, connected to one resolver, with a random port and a random number, and what
comes back must repeat the question: whoever wants to forge an answer has to guess 32 bits. A slow resolver is
not forgotten when the next one is asked: the first good answer counts.

A truncated answer goes to the client as it is; the client asks again over TCP, and so do we then.

The host's resolvers are asked from the host's namespace, where 127.0.0.53 is who it should be. A container's
own are asked from its namespace, as under Docker: one of them may be its neighbour, or itself.
"""

from __future__ import annotations

import _socket
import errno
import os
import time

from compose.network.netd import names
from compose.network.netd.loop import ERR, HUP, IN, OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compose.network.netd.inside import Place
    from compose.network.netd.loop import Loop, Timer

    Server = tuple[str, int, int, int] | tuple[str, int]

PATIENCE = 5.0  # seconds until a client is told that no resolver answers; what glibc waits for one of its own
TRYING = 4.0  # seconds over which the tries are spread
MOST_PENDING = 1024
MOST_PENDING_EACH = 256  # of one container
OURSELVES = "127.0.0.11"  # seen from a container; asked, we would ask ourselves for ever
_REORDERED = 60.0  # seconds until the first resolver gets another chance to be the first
_FAILED = (names.SERVER_FAILURE, names.NOT_IMPLEMENTED, names.REFUSED)


def nameservers(text: str, port: int = 53) -> list[Server]:
    """The resolvers that a resolv.conf(5) names, at most three; without one, this machine, as for glibc."""
    found: list[Server] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and (server := _server(words[1], port)):
            found.append(server)
    return found[:3] or [("127.0.0.1", port)]


def _server(text: str, port: int) -> Server | None:
    host, _, zone = text.partition("%")
    try:
        if ":" not in host:
            _socket.inet_pton(_socket.AF_INET, host)
            return host, port
        _socket.inet_pton(_socket.AF_INET6, host)
        scope = (int(zone) if zone.isdigit() else _socket.if_nametoindex(zone)) if zone else 0
        return host, port, 0, scope
    except (OSError, ValueError):
        return None


class Resolvers:
    """The host's resolvers, read anew when the file at `path` changes. `port` is for tests.

    `inside` leads to the namespace of a container, for those that have resolvers of their own.
    """

    def __init__(self, loop: Loop, path: str, inside: Callable[[str], Place], port: int = 53) -> None:
        self.loop = loop
        self._inside = inside
        self.pending: dict[object, Query] = {}
        self.counts: dict[str, int] = {}
        self._path = path
        self._port = port
        self._stamp: tuple[int, int] | None = None
        self._servers: list[Server] = []
        self._reordered = 0.0

    def servers(self) -> list[Server]:
        """Whom to ask, in this order."""
        try:
            status = os.stat(self._path)
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp or (self._reordered and time.monotonic() - self._reordered > _REORDERED):
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    self._servers = nameservers(file.read(65536), self._port)
                self._stamp = stamp
                self._reordered = 0.0
        except OSError:
            if not self._servers:
                self._servers = nameservers("", self._port)
        return self._servers

    def answered_by(self, server: Server) -> None:
        """Ask this one first for a while: the ones before it did not answer."""
        if self._servers and server != self._servers[0] and server in self._servers:
            self._reordered = time.monotonic()
            self._servers = [server, *(other for other in self._servers if other != server)]

    def ask(
        self,
        container: str,
        client: object,
        message: bytes,
        question: names.Question,
        respond: Callable[[bytes], None],
        *,
        tcp: bool,
        own: Sequence[str] = (),
    ) -> None:
        """Have `respond` called with an answer to `message`. A question repeated meanwhile is asked once.

        `own` are the addresses of the container's own resolvers, which are then asked in place of the host's.
        """
        key = (container, client, message[: question.end])
        if key in self.pending:
            return
        count = self.counts.get(container, 0)
        if count >= MOST_PENDING_EACH or len(self.pending) >= MOST_PENDING:
            respond(names.reply(message, question, names.SERVER_FAILURE))
            return
        self.counts[container] = count + 1
        servers = [server for text in own if text != OURSELVES and (server := _server(text, self._port))][:3]
        place = self._inside(container) if servers else None
        servers = servers or self.servers()
        query = Query(self, container, key, message, question, respond, servers, place, tcp=tcp)
        self.pending[key] = query
        query.next()

    def forget(self, query: Query) -> None:
        """The query has its answer."""
        self.pending.pop(query.key, None)
        left = self.counts.get(query.container, 0) - 1
        if left > 0:
            self.counts[query.container] = left
        else:
            self.counts.pop(query.container, None)


class Query:
    """One question on its way; `key` tells it from others."""

    __slots__ = (
        "_deadline",
        "_failed",
        "_message",
        "_pause",
        "_place",
        "_question",
        "_resolvers",
        "_respond",
        "_servers",
        "_timer",
        "_tries",
        "_udp_limit",
        "_way",
        "container",
        "key",
    )

    def __init__(
        self,
        resolvers: Resolvers,
        container: str,
        key: object,
        message: bytes,
        question: names.Question,
        respond: Callable[[bytes], None],
        servers: Sequence[Server],
        place: Place | None,
        *,
        tcp: bool,
    ) -> None:
        self.container = container
        self.key = key
        self._resolvers = resolvers
        self._message = message
        self._question = question
        self._respond = respond
        self._udp_limit = 0 if tcp else question.size
        self._servers = len(servers)
        self._place = place
        self._tries: list[Try] = []
        self._failed: set[tuple[Server, bool]] = set()
        ways = [(server, tcp) for server in servers] + [(server, False) for server in servers]
        if len(ways) < 3 and not tcp:
            ways.append(ways[0])
        self._way = ways[::-1]  # the next one is the last
        self._pause = TRYING / len(ways)
        self._timer: Timer | None = None
        self._deadline = resolvers.loop.after(PATIENCE, self.give_up)

    def next(self) -> None:
        """Ask the next resolver; the ones before may still answer."""
        if self._timer is not None:
            self._timer.cancel()
        while self._way:
            server, tcp = self._way.pop()
            if (server, tcp) in self._failed:
                continue
            self._timer = self._resolvers.loop.after(self._pause, self.next)
            made = Try(self, self._resolvers.loop, server, os.urandom(2) + self._message[2:], tcp=tcp)
            self._tries.append(made)
            made.start(self._place)
            return
        if all(one.closed for one in self._tries):
            self.give_up()

    def got(self, source: Try, data: bytes) -> bool:
        """A resolver has sent `data`; false when that does not answer the question."""
        if not names.answers(source.message, self._question.end, data):
            return False  # forged, or for another question: go on waiting
        if data[3] & 15 in _FAILED or data[4:6] == b"\0\0":
            source.close()
            self._failed.add((source.server, source.tcp))
            if len({server for server, _ in self._failed}) < self._servers:
                self.next()
                return True
        elif len(self._tries) > 1 and self._place is None:
            self._resolvers.answered_by(source.server)
        if data[4:6] == b"\0\0":
            self.give_up(data[3] & 15)
        else:
            limit = self._udp_limit or 65535
            self._finish(names.for_client(self._question.identity, data, self._question.end, limit))
        return True

    def failed(self, source: Try) -> None:
        """A resolver is not there."""
        source.close()
        self._failed.add((source.server, source.tcp))
        self.next()

    def give_up(self, code: int = names.SERVER_FAILURE) -> None:
        self._finish(names.reply(self._message, self._question, code))

    def _finish(self, answer: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._way.clear()
        self._deadline.cancel()
        for one in self._tries:
            one.close()
        self._resolvers.forget(self)
        self._respond(answer)


class Try:
    """One question to one resolver over UDP or TCP."""

    __slots__ = ("_buffer", "_loop", "_query", "_socket", "closed", "message", "server", "tcp")

    def __init__(self, query: Query, loop: Loop, server: Server, message: bytes, *, tcp: bool) -> None:
        self.server = server
        self.message = message
        self.tcp = tcp
        self.closed = False
        self._query = query
        self._loop = loop
        self._buffer = b""
        self._socket: _socket.socket | None = None

    def start(self, place: Place | None) -> None:
        """Ask, from `place` or from here."""
        family = _socket.AF_INET if len(self.server) == 2 else _socket.AF_INET6
        kind = _socket.SOCK_STREAM if self.tcp else _socket.SOCK_DGRAM
        if place is not None:
            place.take(family, kind, self._begin)
            return
        try:
            sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        except OSError:  # no descriptor is left
            self._query.give_up()
            return
        self._begin(sock)

    def _begin(self, sock: _socket.socket | None) -> None:
        if self.closed or sock is None:
            if sock is not None:
                sock.close()
            else:
                self._query.failed(self)
            return
        self._socket = sock
        error = sock.connect_ex(self.server)
        if error not in (0, errno.EINPROGRESS):
            self._query.failed(self)
            return
        try:
            if not self.tcp:
                sock.send(self.message)
        except OSError:
            self._query.failed(self)
            return
        self._loop.add(sock.fileno(), self._ready, OUT if self.tcp else IN)

    def _ready(self, events: int) -> None:
        assert self._socket is not None
        try:
            if self.tcp and events & OUT:
                framed = len(self.message).to_bytes(2, "big") + self.message
                if self._socket.send(framed) != len(framed):
                    raise ConnectionError
                self._loop.modify(self._socket.fileno(), IN)
                return
            if events & (IN | ERR | HUP):
                data = self._socket.recv(65535)
                if self.tcp:
                    self._collect(data)
                else:
                    self._query.got(self, data)
        except BlockingIOError:
            return
        except OSError:
            self._query.failed(self)

    def _collect(self, data: bytes) -> None:
        if not data:
            raise ConnectionError
        self._buffer += data
        size = int.from_bytes(self._buffer[:2], "big")
        if len(self._buffer) < max(2 + size, 3):
            return
        answer, self._buffer = self._buffer[2 : 2 + size], b""
        if not self._query.got(self, answer):
            raise ConnectionError

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            if self._socket is not None:
                self._loop.close(self._socket)
