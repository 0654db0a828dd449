"""A socket to whoever collects logs: nothing here waits, and it is made again after it broke."""

from __future__ import annotations

import _socket
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
_BUSY = 0.02
"""Seconds until a full socket is tried again."""
_EMSGSIZE, _ENOBUFS = 90, 105


class Transport:
    """Datagrams or a stream to one address, which is a path, or a host's address and a port."""

    def __init__(self, address: str | tuple[str, int], *, stream: bool) -> None:
        self._address = address
        self._stream = stream
        self._socket: _socket.socket | None = None
        self._connecting = False
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0
        self._rest = b""
        """What of the present packet is still to be written to a stream."""
        self._whole = b""

    @property
    def fails(self) -> bool:
        """Whether there was nobody the last time."""
        return self._socket is None and self._pause > _FIRST_PAUSE

    def send(self, packet: bytes) -> bool:
        """Send a packet; False when it has to be offered again later, the same one."""
        try:
            if not self._ready():
                return False
            return self._write(packet) if self._stream else self._datagram(packet)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._stream and error.errno == _ENOBUFS:
                return False
            self._broken()
            return False

    def patience(self) -> float:
        """Seconds after which it makes sense to try again."""
        if self._socket is not None:
            return _BUSY
        return max(_BUSY, self._not_before - time.monotonic())

    def wait(self, seconds: float) -> None:
        """Wait until something may have changed; only for the container's end."""
        poll = select.poll()
        if self._socket is not None:
            poll.register(self._socket.fileno(), select.POLLOUT)
            poll.poll(seconds * 1000)
        else:
            time.sleep(min(seconds, self.patience()))

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._connecting = False
        self._rest = self._whole = b""

    def _ready(self) -> bool:
        if self._socket is None:
            if time.monotonic() < self._not_before:
                return False
            self._connect()
        if self._connecting and not self._is_connected():
            return False
        if self._stream and self._has_hung_up():
            raise ConnectionResetError
        return True

    def _connect(self) -> None:
        address: Any = self._address
        if isinstance(address, str):
            family = _socket.AF_UNIX
        else:
            family = _socket.AF_INET6 if ":" in address[0] else _socket.AF_INET
        kind = _socket.SOCK_STREAM if self._stream else _socket.SOCK_DGRAM
        self._socket = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        self._connecting = True
        try:
            self._socket.connect(address)
        except BlockingIOError:
            return
        self._connecting = False

    def _is_connected(self) -> bool:
        """Whether a connection that was begun is there by now. Raises `OSError` when it failed."""
        assert self._socket is not None
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLOUT)
        if not poll.poll(0):
            return False
        error = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        self._connecting = False
        return True

    def _has_hung_up(self) -> bool:
        """Whether the other side has closed a stream: what were written to it would be lost."""
        assert self._socket is not None
        try:
            while True:
                if not self._socket.recv(65536):  # whatever it answers, nobody asks for it
                    return True
        except BlockingIOError:
            return False

    def _datagram(self, packet: bytes) -> bool:
        assert self._socket is not None
        try:
            self._socket.send(packet)
        except OSError as error:
            if error.errno != _EMSGSIZE:
                raise
            if not isinstance(self._address, str):
                return True  # no network carries it: it is in the log only
            self._send_in_memory(packet)
        self._pause = _FIRST_PAUSE
        return True

    def _send_in_memory(self, packet: bytes) -> None:
        """A packet that is too long for a socket, as a sealed memory file: the journal takes that."""
        import fcntl

        assert self._socket is not None
        parcel = os.memfd_create("log entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            view = memoryview(packet)
            while view:
                view = view[os.write(parcel, view) :]
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
            fcntl.fcntl(parcel, fcntl.F_ADD_SEALS, seals)
            numbers = parcel.to_bytes(4, "little")
            self._socket.sendmsg([b""], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
        finally:
            os.close(parcel)

    def _write(self, packet: bytes) -> bool:
        assert self._socket is not None
        if self._whole is not packet:
            self._whole = self._rest = packet
        while self._rest:
            self._rest = self._rest[self._socket.send(self._rest, _socket.MSG_NOSIGNAL) :]
        self._whole = b""
        self._pause = _FIRST_PAUSE
        return True

    def _broken(self) -> None:
        """Try again later; a packet that was begun is sent as a whole again."""
        self.close()
        self._not_before = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
