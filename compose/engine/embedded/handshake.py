"""Asks a server whether it is ready, by the first words of its own protocol.

    mysql       the server greets: a packet of protocol version 10, or an error, which only a server sends
    postgres    a start-up packet: whoever is asked for a password, or refused, has reached a server that is
                up; SQLSTATE 57P03 says that it is starting
    redis       PING; LOADING says that it is starting
    memcached   version
    rabbitmq    the AMQP 0-9-1 header: the server begins
    http        GET /; a status below 500

The server may be hostile: no more than some bytes are read, for no longer than some seconds, and nothing of
them is looked at but what stands above.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from compose.linux.namespaces import in_network

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 4096
_PATIENCE = 3.0


class Question(NamedTuple):
    """What is asked of whom."""

    protocol: str
    address: str
    port: int
    namespace: str = ""
    """Path that pins the network namespace in which the address is; empty: that of the caller."""

    def __str__(self) -> str:
        return f"{self.protocol} on {self.address} port {self.port}"


def ask(question: Question) -> str:
    """ "" when the server is ready, else why not. Blocks for some seconds at most."""
    with _socket_in(question.namespace, ":" in question.address) as connection:
        talk = _Talk(connection)
        try:
            connection.settimeout(_PATIENCE)
            connection.connect((question.address, question.port))
            return PROTOCOLS[question.protocol](talk)
        except TimeoutError:
            return "it does not answer"
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)


def _socket_in(namespace: str, ipv6: bool) -> socket.socket:
    """A socket of another network namespace; this thread is there for one call."""
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    if not namespace:
        return socket.socket(family)
    with in_network(namespace):
        return socket.socket(family)


class _Talk:
    """A connection of which only so much is read, until only then."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._end = time.monotonic() + _PATIENCE
        self._read = b""

    def say(self, data: bytes) -> None:
        self._connection.sendall(data)

    def first(self, size: int) -> bytes:
        """The first bytes of the answer; fewer when it ends before."""
        while len(self._read) < min(size, _MOST):
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            data = self._connection.recv(_MOST - len(self._read))
            if not data:
                break
            self._read += data
        return self._read

    def line(self) -> bytes:
        """The first line of the answer."""
        while b"\n" not in self._read and len(self._read) < _MOST:
            before = len(self._read)
            if len(self.first(before + 1)) == before:
                break
        return self._read.partition(b"\n")[0].rstrip(b"\r")


def _odd(answer: bytes) -> str:
    if not answer:
        return "it hangs up"
    return f"it answers something else: {answer[:40]!r}"


def _mysql(talk: _Talk) -> str:
    greeting = talk.first(5)
    return "" if len(greeting) >= 5 and greeting[3] == 0 and greeting[4] in (10, 0xFF) else _odd(greeting)


def _postgres(talk: _Talk) -> str:
    words = b"user\0postgres\0database\0postgres\0\0"
    talk.say(struct.pack(">II", len(words) + 8, 3 << 16) + words)
    head = talk.first(5)
    if head[:1] == b"R":
        return ""
    if head[:1] != b"E" or len(head) < 5:
        return _odd(head)
    size = min(int.from_bytes(head[1:5], "big"), _MOST - 1)
    fields = talk.first(1 + size)[5 : 1 + size].split(b"\0")
    return "it is starting" if b"C57P03" in fields else ""


def _redis(talk: _Talk) -> str:
    talk.say(b"PING\r\n")
    answer = talk.line()
    if answer.startswith(b"-LOADING"):
        return "it is loading its data"
    return "" if answer[:1] in (b"+", b"-") else _odd(answer)


def _memcached(talk: _Talk) -> str:
    talk.say(b"version\r\n")
    answer = talk.line()
    return "" if answer.startswith(b"VERSION ") else _odd(answer)


def _rabbitmq(talk: _Talk) -> str:
    talk.say(b"AMQP\x00\x00\x09\x01")
    answer = talk.first(3)
    return "" if answer[:3] == b"\x01\x00\x00" else _odd(answer)


def _http(talk: _Talk) -> str:
    talk.say(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: pycompose\r\nConnection: close\r\n\r\n")
    words = talk.line().split(b" ")
    if not words[0].startswith(b"HTTP/") or len(words) < 2 or not words[1].isdigit():
        return _odd(b" ".join(words))
    status = int(words[1][:3])
    return "" if 100 <= status < 500 else f"it answers {status}"


PROTOCOLS: dict[str, Callable[[_Talk], str]] = {
    "mysql": _mysql,
    "postgres": _postgres,
    "redis": _redis,
    "memcached": _memcached,
    "rabbitmq": _rabbitmq,
    "http": _http,
}
