"""One netlink conversation: messages encoded by pyroute2, one system call a batch, every answer read.

pyroute2's own sockets bring an event loop each (0.5 ms to open and close); fifty containers need a hundred
sockets, so the socket here is a plain one. Requests are handled by the kernel inside ``sendto``: when it
returns, all answers are in the receive queue and reading never has to wait, except for dumps.

A `Template` is a message that was encoded once and differs in a few fields of fixed width; encoding a veth
pair takes pyroute2 0.4 ms, filling in a template 2 microseconds.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800

ROUTE = 0
LINK_NOTICES = 1
"""RTMGRP_LINK, of the route family."""
NETFILTER = 12

CHANGE = NLM_F_REQUEST | NLM_F_ACK
"""Change what is there."""
CREATE = CHANGE | NLM_F_CREATE | NLM_F_EXCL
"""Make it; EEXIST when it is there."""
DUMP = NLM_F_REQUEST | NLM_F_DUMP

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_HEADER = struct.Struct("=IHHII")
_ERROR, _DONE = 2, 3
_ACK_TLVS = 0x200
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_ROUTE_BATCH = 32


class Message(NamedTuple):
    """One encoded request."""

    what: str
    """Verb and object, for errors: ``add link br-1234``."""
    data: bytes
    tolerate: tuple[int, ...] = ()
    """Errors that are no failure (EEXIST, ENOENT)."""


class Failure(NamedTuple):
    """One request that the kernel refused."""

    what: str
    number: int
    detail: str

    def __str__(self) -> str:
        reason = os.strerror(self.number)
        return f"{self.what}: {reason} ({self.detail})" if self.detail else f"{self.what}: {reason}"


def message(
    what: str,
    kind: type,
    number: int,
    flags: int,
    fields: dict[str, Any] | None = None,
    attributes: Sequence[tuple[str, Any]] = (),
    tolerate: tuple[int, ...] = (),
) -> Message:
    """A request of pyroute2's message class `kind`, netlink type `number`."""
    request = kind()
    request["header"]["type"] = number
    request["header"]["flags"] = flags
    for key, value in (fields or {}).items():
        request[key] = value
    request["attrs"] = list(attributes)
    request.encode()
    return Message(what, bytes(request.data), tolerate)


class Template:
    """An encoded message with fields of fixed width, each found by a value that occurs nowhere else."""

    def __init__(self, data: bytes, marks: dict[str, bytes]) -> None:
        self._data = data
        self._slots: dict[str, tuple[list[int], int]] = {}
        for key, mark in marks.items():
            places = []
            start = data.find(mark)
            while start >= 0:
                places.append(start)
                start = data.find(mark, start + 1)
            if not places:
                raise ValueError(f"no {key} in the message")
            self._slots[key] = (places, len(mark))

    def fill(self, **values: bytes) -> bytes:
        """The message with each field replaced; every field has to be given, at its width."""
        data = bytearray(self._data)
        for key, (places, width) in self._slots.items():
            value = values[key]
            if len(value) != width:
                raise ValueError(f"{key} is {len(value)} bytes long, not {width}")
            for place in places:
                data[place : place + width] = value
        return bytes(data)


class Netlink:
    """A netlink socket in the namespace that the thread is in when this is made; a context manager."""

    def __init__(self, family: int, *, groups: int = 0) -> None:
        """`groups` is the mask of the notices to subscribe to (`LINK_NOTICES`)."""
        self._sequence = 1
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        if groups:
            self._socket.bind((0, groups))

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def apply(self, messages: Sequence[Message]) -> None:
        """Send requests of the route family; raise `NetworkError` of the first failure."""
        failures = self.attempt(messages)
        if failures:
            raise NetworkError(str(failures[0]))

    def attempt(self, messages: Sequence[Message]) -> list[Failure]:
        """Send requests of the route family; return those that failed, in order."""
        failures: list[Failure] = []
        for start in range(0, len(messages), _ROUTE_BATCH):
            failures += self._exchange(messages[start : start + _ROUTE_BATCH], b"", b"")
        return failures

    def transaction(self, messages: Sequence[Message]) -> list[Failure]:
        """Send nftables requests as one batch: all of them happen, or none; return the failures."""
        if not messages:
            return []
        # struct nfgenmsg: family, version, resource id (big endian) = NFNL_SUBSYS_NFTABLES
        body = b"\0\0" + (10).to_bytes(2, "big")
        begin = _HEADER.pack(20, _BATCH_BEGIN, NLM_F_REQUEST, 0, 0) + body
        end = _HEADER.pack(20, _BATCH_END, NLM_F_REQUEST, 0, 0) + body
        return self._exchange(messages, begin, end)

    def answers(self, messages: Sequence[Message]) -> list[bytes]:
        """Send requests for one object each; the bodies of those that there are, in order."""
        first = self._sequence
        bodies: list[bytes] = []
        for start in range(0, len(messages), _ROUTE_BATCH):
            self._send(messages[start : start + _ROUTE_BATCH], b"", b"")
            bodies += [
                body
                for kind, _, sequence, body in self._received(wait=False)
                if kind not in (_ERROR, _DONE) and sequence >= first
            ]
        return bodies

    def exists(self, request: Message) -> bool:
        """Whether the one object that `request` asks for is there."""
        return not self._exchange([request], b"", b"")

    def _exchange(self, messages: Sequence[Message], begin: bytes, end: bytes) -> list[Failure]:
        return self._answers(messages, self._send(messages, begin, end))

    def _send(self, messages: Sequence[Message], begin: bytes, end: bytes) -> int:
        """Send requests in one system call; the sequence number of the first."""
        first = self._sequence
        self._sequence += len(messages)
        data = bytearray(begin)
        for offset, request in enumerate(messages):
            start = len(data)
            data += request.data
            struct.pack_into("=I", data, start + 8, first + offset)
        data += end
        if len(data) > 200_000:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(data))
        self._socket.sendto(data, (0, 0))
        return first

    def _answers(self, messages: Sequence[Message], first: int) -> list[Failure]:
        failures = []
        for kind, flags, sequence, body in self._received(wait=False):
            position = sequence - first
            if kind != _ERROR:
                continue
            number = -int(struct.unpack_from("=i", body)[0])
            if 0 <= position < len(messages):
                if number and number not in messages[position].tolerate:
                    failures.append(Failure(messages[position].what, number, _detail(flags, body)))
            elif number:  # the batch as a whole: not allowed, or out of memory
                failures.append(Failure("change rules", number, _detail(flags, body)))
        return failures

    def wait_for_notice(self, seconds: float) -> None:
        """Return when a notice has come, or after that time; all that have come are thrown away."""
        if select.select([self._socket], [], [], max(0.0, seconds))[0]:
            try:
                for _ in self._received(wait=False):
                    pass
            except NetworkError:
                return  # more than the queue holds: something has come for certain

    def dump(self, request: Message, kind: type) -> list[Any]:
        """All objects of a dump request as decoded messages of pyroute2's class `kind`."""
        sequence = self._sequence
        self._sequence += 1
        data = bytearray(request.data)
        struct.pack_into("=I", data, 8, sequence)
        self._socket.sendto(data, (0, 0))
        found = []
        for number, _, answered, body in self._received(wait=True):
            if answered != sequence:
                continue
            if number == _DONE:
                break
            if number == _ERROR:
                code = -int(struct.unpack_from("=i", body)[0])
                raise NetworkError(str(Failure(request.what, code, "")))
            decoded = kind(_HEADER.pack(16 + len(body), number, 0, 0, 0) + body)
            decoded.decode()
            found.append(decoded)
        return found

    def _received(self, *, wait: bool) -> Iterable[tuple[int, int, int, bytes]]:
        """Type, flags, sequence number and body of each message in the queue."""
        while True:
            try:
                data = self._socket.recv(1 << 17, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise NetworkError("too many netlink answers at once") from error
                raise
            offset = 0
            while offset + 16 <= len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
                yield kind, flags, sequence, data[offset + 16 : offset + length]
                offset += (length + 3) & ~3


def _detail(flags: int, body: bytes) -> str:
    """The kernel's own words on an error (NLMSGERR_ATTR_MSG), if it said any."""
    if not flags & _ACK_TLVS:
        return ""
    offset = 20  # the error number and the header of the request; NETLINK_CAP_ACK leaves the rest out
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            break
        if kind & 0x3FFF == 1:
            return body[offset + 4 : offset + length].rstrip(b"\0").decode("ascii", "replace").rstrip(".")
        offset += (length + 3) & ~3
    return ""
