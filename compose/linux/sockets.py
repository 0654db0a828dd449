"""Local SOCK_SEQPACKET sockets that carry descriptors.

The C module behind `socket` is used directly: `socket` itself loads `selectors` and `enum`, 7 ms and 1 MB
that every helper process would pay. Names are reached through a descriptor of their directory, because a
socket's path is limited to 107 bytes.
"""

from __future__ import annotations

import _socket
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

Socket = _socket.socket

_FAMILY = _socket.AF_UNIX
_KIND = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
_MSG_CMSG_CLOEXEC = 0x40000000
_MOST_DESCRIPTORS = 253  # SCM_MAX_FD
_ANCILLARY = _socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS)


def pair() -> tuple[Socket, Socket]:
    """Two connected sockets."""
    first, second = _socket.socketpair(_FAMILY, _KIND)
    return first, second


def adopt(descriptor: int) -> Socket:
    """A socket object for a descriptor that we were given."""
    os.set_inheritable(descriptor, False)
    return _socket.socket(_FAMILY, _KIND, 0, descriptor)


def listen(directory: str, name: str, backlog: int = 1024) -> Socket:
    """A socket that listens at `directory`/`name`; whatever lay there before is replaced."""
    parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made = _socket.socket(_FAMILY, _KIND, 0)
    try:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            pass
        made.bind(f"/proc/self/fd/{parent}/{name}")
        made.listen(backlog)
    except BaseException:
        made.close()
        raise
    finally:
        os.close(parent)
    return made


def connect(directory: str, name: str) -> Socket:
    """A connection to the socket at `directory`/`name`; raises `OSError` when nobody listens."""
    parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    made = _socket.socket(_FAMILY, _KIND, 0)
    try:
        made.connect(f"/proc/self/fd/{parent}/{name}")
    except BaseException:
        made.close()
        raise
    finally:
        os.close(parent)
    return made


def accept(listener: Socket) -> Socket | None:
    """The next connection of a non-blocking listener, or None; connections of other users are refused."""
    while True:
        try:
            descriptor, _address = listener._accept()  # type: ignore[attr-defined]
        except (BlockingIOError, ConnectionAbortedError):
            return None
        accepted = _socket.socket(_FAMILY, _KIND, 0, descriptor)
        if peer(accepted)[1] in (0, os.geteuid()):
            return accepted
        accepted.close()


def peer(connection: Socket) -> tuple[int, int]:
    """Process and user id of whoever connected (SO_PEERCRED)."""
    raw = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:8], "little")


def send(connection: Socket, data: bytes, descriptors: Iterable[int] = ()) -> None:
    """Send one packet, with copies of `descriptors`."""
    numbers = b"".join(number.to_bytes(4, "little") for number in descriptors)
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)] if numbers else []
    connection.sendmsg([data], rights, _socket.MSG_NOSIGNAL)


def send_to(path: str, data: bytes, descriptor: int) -> None:
    """Send a descriptor to whoever listens at `path` with a stream socket, as OCI terminals are passed on."""
    directory, name = os.path.split(path)
    parent = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    connection = _socket.socket(_FAMILY, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
    try:
        connection.connect(f"/proc/self/fd/{parent}/{name}")
        send(connection, data, (descriptor,))
    finally:
        connection.close()
        os.close(parent)


def receive(connection: Socket, size: int = 65536) -> tuple[bytes, list[int]]:
    """One packet and its descriptors (close-on-exec); an empty packet is the end of the connection."""
    data, rights, flags, _address = connection.recvmsg(size, _ANCILLARY, _MSG_CMSG_CLOEXEC)
    descriptors = [
        int.from_bytes(numbers[place : place + 4], "little")
        for level, kind, numbers in rights
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS
        for place in range(0, len(numbers) - 3, 4)
    ]
    if flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC):
        for number in descriptors:
            os.close(number)
        raise OSError("a packet did not fit")
    return data, descriptors
