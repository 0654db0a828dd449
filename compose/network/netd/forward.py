"""Published TCP ports: from a listener on the host to a container, byte by byte.

Each connection is two `End`s. What one end receives is sent at the other; what that one does not take at once
is held (one piece, at most `_CHUNK` bytes) and the first end is not read until it is gone: so a slow reader
slows the writer, as without us. The end of one direction is passed on as the end of that direction; a reset
as a reset; a refused or failed connection inside is a reset outside.

Plain recv and send, through one buffer for all: 1.1 s of CPU a GiB, 35 us a request to nginx. A fresh buffer
a call costs 1.6 s a GiB. splice(2) through a pipe would save 0.2 s of it in calls of 1 MiB, for the price of
two descriptors and a buffer in the kernel a direction.
"""

from __future__ import annotations

import _socket
import errno
import os

from compose.network.netd.inside import KEEPALIVE, bind_as
from compose.network.netd.loop import ERR, HUP, IN, OUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.network.netd.inside import Place
    from compose.network.netd.loop import Loop

_CHUNK = 262144  # bytes a call
_SMALL = 4096  # bytes a call while all connections together hold more than _HELD bytes
_HELD = 16 << 20
_ACCEPTS = 64  # connections taken in one round, so that a flood of new ones does not starve the others
_RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: on, 0 s

_held = 0
_buffer = bytearray(_CHUNK)  # one for all: nothing stays in it from one call to the next
_view = memoryview(_buffer)


class End:
    """One of the two sockets of a connection, and what waits to be sent there."""

    __slots__ = ("ended", "loop", "mask", "pending", "peer", "receive", "resting", "send", "sock")

    peer: End

    def __init__(self, loop: Loop, sock: _socket.socket) -> None:
        self.loop = loop
        self.sock = sock
        self.receive = sock.recv_into
        self.send = sock.send
        self.pending: memoryview | None = None
        self.ended = False  # it has said that it sends no more
        self.mask = IN
        self.resting = False

    def ready(self, events: int) -> None:
        """Something can be done with this socket."""
        if events & OUT and not self.flush():
            return
        if not self.mask & IN:
            if events & ERR:
                self.abort()
            elif events & HUP:
                # It has ended both directions while the peer holds us up, and what it sent is still to be
                # read. The kernel would go on telling so.
                self.loop.rest(self.sock.fileno())
                self.resting = True
            return
        if events == OUT:
            return
        try:
            count = self.receive(_buffer, _CHUNK if _held < _HELD else _SMALL)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        if not count:
            self.end()
            return
        try:
            sent = self.peer.send(_view[:count])
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return
        if sent != count:
            self.hold(bytes(_view[sent:count]))

    def hold(self, data: bytes) -> None:
        """Keep what the peer did not take, and read no more until it has."""
        global _held
        peer = self.peer
        peer.pending = memoryview(data)
        _held += len(data)
        self.interest(self.mask & ~IN)
        peer.interest(peer.mask | OUT)

    def flush(self) -> bool:
        """Send what waits for this socket; false when the connection is gone with it."""
        global _held
        pending = self.pending
        if pending is None:
            return True
        try:
            sent = self.send(pending)
        except BlockingIOError:
            return True
        except OSError:
            self.abort()
            return False
        _held -= sent
        if sent < len(pending):
            self.pending = pending[sent:]
            return True
        self.pending = None
        self.interest(self.mask & ~OUT)
        peer = self.peer
        if peer.ended:
            return self.shut()
        peer.interest(peer.mask | IN)
        return True

    def end(self) -> None:
        """This socket sends no more: tell the peer once it has got everything."""
        self.ended = True
        self.interest(self.mask & ~IN)
        if self.peer.pending is None:
            self.peer.shut()

    def shut(self) -> bool:
        """End the direction towards this socket; false when that was the last one."""
        if self.ended and self.peer.pending is None:
            self.close()
            return False
        try:
            self.sock.shutdown(_socket.SHUT_WR)
        except OSError:
            self.abort()
            return False
        return True

    def interest(self, mask: int) -> None:
        if mask != self.mask:
            self.mask = mask
            if self.resting:
                self.resting = False
                self.loop.wake(self.sock.fileno(), mask)
            else:
                self.loop.modify(self.sock.fileno(), mask)

    def close(self) -> None:
        """Close both sockets."""
        global _held
        for end in (self, self.peer):
            if end.pending is not None:
                _held -= len(end.pending)
                end.pending = None
            end.loop.close(end.sock)

    def abort(self) -> None:
        """Reset both sockets, so that neither side takes a broken stream for a whole one."""
        reset(self.sock)
        reset(self.peer.sock)
        self.close()


def reset(sock: _socket.socket) -> None:
    """Let closing `sock` be a reset."""
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, _RESET)
    except OSError:
        return


class Pending:
    """A client that waits for its connection inside."""

    __slots__ = ("address", "client", "forwarder", "inside", "tries")

    def __init__(self, forwarder: TCPForwarder, client: _socket.socket, address: str) -> None:
        self.forwarder = forwarder
        self.client = client
        self.address = address
        self.inside: _socket.socket | None = None
        self.tries = 0

    def start(self, sock: _socket.socket | None) -> None:
        """Connect `sock`, which is in the project's namespace."""
        if sock is None:
            self.fail()
            return
        forwarder = self.forwarder
        self.inside = sock
        if self.tries == 0:
            bind_as(sock, self.address, forwarder.target[0])
        error = sock.connect_ex(forwarder.target)
        loop = forwarder.loop
        if error == errno.EINPROGRESS:
            loop.add(sock.fileno(), self.connected, OUT)
            loop.add(self.client.fileno(), self.client_gone, 0)
        elif error == 0:
            self.join(loop.add)
        else:
            self.retry(error)

    def retry(self, error: int) -> None:
        """Once more as the gateway when it may be the client's address that does not work inside."""
        if self.inside is not None:
            self.forwarder.loop.close(self.inside)
            self.inside = None
        if self.tries == 0 and error not in (errno.ECONNREFUSED, errno.ETIMEDOUT, errno.ECONNRESET):
            self.tries = 1
            self.forwarder.loop.remove(self.client.fileno())
            self.forwarder.take(self.start)
        else:
            self.fail()

    def connected(self, events: int) -> None:
        assert self.inside is not None
        error = self.inside.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if error:
            self.retry(error)
        elif events & OUT:
            self.join(self.forwarder.loop.handle)

    def join(self, watch: Callable[[int, Callable[[int], object], int], None]) -> None:
        """From now on the bytes flow; `watch` is how the loop is told."""
        assert self.inside is not None
        loop = self.forwarder.loop
        near, far = End(loop, self.client), End(loop, self.inside)
        near.peer, far.peer = far, near
        for end in (near, far):
            watch(end.sock.fileno(), end.ready, IN)

    def client_gone(self, events: int) -> None:
        if self.inside is not None:
            self.forwarder.loop.close(self.inside)
            self.inside = None
        self.fail()

    def fail(self) -> None:
        reset(self.client)
        self.forwarder.loop.close(self.client)


class TCPForwarder:
    """One published TCP port. Other processes share the listener: it is closed here, never shut down."""

    def __init__(self, loop: Loop, inside: Place, listener: _socket.socket, target: tuple[str, int]) -> None:
        self.loop = loop
        self.target = target
        self._listener = listener
        self.inside = inside
        self._family = _socket.AF_INET6 if ":" in target[0] else _socket.AF_INET
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        listener.setblocking(False)
        for option in KEEPALIVE:  # what it accepts inherits them
            listener.setsockopt(*option)
        loop.add(listener.fileno(), self._accept)
        inside.prepare(self._family, _socket.SOCK_STREAM)

    def take(self, taker: Callable[[_socket.socket | None], None]) -> None:
        self.inside.take(self._family, _socket.SOCK_STREAM, taker)

    def _accept(self, events: int) -> None:
        listener = self._listener
        for _ in range(_ACCEPTS):
            try:
                descriptor, address = listener._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._turn_away()
                    return
                if error.errno in (errno.ENOBUFS, errno.ENOMEM):
                    raise
                continue  # the client has left again (accept(2): treat network errors like EAGAIN)
            client = _socket.socket(listener.family, listener.type, listener.proto, descriptor)
            client.setblocking(False)
            self.take(Pending(self, client, address[0]).start)

    def _turn_away(self) -> None:
        """No descriptor is left: reset the first waiting client with the one kept for this."""
        os.close(self._reserve)
        try:
            descriptor = self._listener._accept()[0]  # type: ignore[attr-defined]
            client = _socket.socket(fileno=descriptor)
            reset(client)
            client.close()
        finally:
            self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Take no more connections; those that are there stay."""
        self.loop.remove(self._listener.fileno())
        self._listener.close()
        os.close(self._reserve)
