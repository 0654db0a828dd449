"""DNS messages, as far as a name service for containers needs them: read a question, write an answer.

Pure: bytes in, bytes out, nothing raised. Whatever a container or a resolver sends is hostile, so reading
never follows a compression pointer and every loop is bounded by the length of the message.

Rules (RFC 1035, 2308, 6761, 6891; moby's resolver for what containers expect):

* A of a name that we know: its addresses. AAAA, and every other type of it: no data. Never forwarded,
  because a slow or missing resolver outside must not delay a name inside.
* PTR of an address that we know: its name.
* A single label that we do not know: no such name. Never forwarded.
* Anything else is for the resolvers of the host.
"""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
IN = 1
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = 0, 1, 2, 3, 4, 5
BAD_VERSION = 16

SMALLEST = 512  # what every client of UDP takes
LARGEST_UDP = 1232  # what we take and send over UDP: fits into any path's packets (DNS flag day 2020)
LARGEST_QUERY = 4096  # no honest question is longer
LIFETIME = 5  # seconds that an answer of ours may be kept; addresses are stable, aliases may move

_QR, _OPCODE, _AA, _TC, _RD, _RA = 0x8000, 0x7800, 0x0400, 0x0200, 0x0100, 0x0080
_SUFFIX = ".in-addr.arpa"


class Question:
    """One well-formed query.

    `name` is in lower case without the final dot, labels as latin-1 text; `end` is where the question
    section ends; `size` is the longest answer that the client takes over UDP, in bytes.
    """

    __slots__ = ("cls", "edns", "end", "flags", "identity", "kind", "labels", "name", "size", "version")

    def __init__(
        self, identity: int, flags: int, name: str, labels: int, kind: int, cls: int, end: int
    ) -> None:
        self.identity = identity
        self.flags = flags
        self.name = name
        self.labels = labels
        self.kind = kind
        self.cls = cls
        self.end = end
        self.edns = False
        self.version = 0
        self.size = SMALLEST


def parse(message: bytes) -> Question | int | None:
    """The question in `message`; a response code when it deserves an error; None when it deserves silence.

    Answers are met with silence, so that two name services never talk to each other for ever.
    """
    length = len(message)
    if length < 12 or message[2] & 0x80:
        return None
    flags = message[2] << 8 | message[3]
    if flags & _OPCODE:
        return NOT_IMPLEMENTED
    if length > LARGEST_QUERY or message[4:8] != b"\0\1\0\0":  # one question, no answers
        return FORMAT_ERROR
    position = _name_end(message, 12)
    if position is None or position + 4 > length:
        return FORMAT_ERROR
    name, labels = _text(message, 12)
    kind, cls = _two(message, position), _two(message, position + 2)
    question = Question(_two(message, 0), flags, name, labels, kind, cls, position + 4)
    return question if _read_extra(message, question) else FORMAT_ERROR


def _two(message: bytes, position: int) -> int:
    return message[position] << 8 | message[position + 1]


def _name_end(message: bytes, position: int) -> int | None:
    """Where the name at `position` ends; None when it is malformed or compressed (no question is)."""
    start, length = position, len(message)
    while position < length:
        size = message[position]
        position += 1 + size
        if size == 0:
            return position if position - start <= 255 else None
        if size > 63:
            return None
    return None


def _text(message: bytes, position: int) -> tuple[str, int]:
    labels = []
    while size := message[position]:
        labels.append(message[position + 1 : position + 1 + size])
        position += 1 + size
    if any(b"." in label for label in labels):
        # A dot within a label would make two different names equal; none of ours holds a NUL.
        labels = [label.replace(b".", b"\0") for label in labels]
    return b".".join(labels).decode("latin-1").lower(), len(labels)


def _read_extra(message: bytes, question: Question) -> bool:
    """Find the EDNS record (RFC 6891) behind the question; False when the records are malformed."""
    position, length = question.end, len(message)
    for index in range(_two(message, 8) + _two(message, 10)):
        if index > 16:
            return False
        start = position
        while position < length and (size := message[position]) and size < 64:
            position += 1 + size
        if position >= length:
            return False
        position += 2 if message[position] else 1  # a compression pointer ends a name: it is not followed
        if position + 10 > length:
            return False
        if _two(message, position) == OPT:
            if question.edns or position - start != 1:
                return False
            question.edns = True
            question.size = min(max(_two(message, position + 2), SMALLEST), LARGEST_UDP)
            question.version = message[position + 5]
        position += 10 + _two(message, position + 8)
        if position > length:
            return False
    return True


def reply(
    message: bytes, question: Question, code: int, records: Sequence[bytes] = (), *, limit: int = 65535
) -> bytes:
    """The answer to `question`, which is in `message`; `records` are what `address` and `pointer` make.

    Records beyond `limit` bytes are left out and the answer is marked as truncated.
    """
    extra = b""
    if question.edns:
        extra = b"\0\0\x29" + LARGEST_UDP.to_bytes(2, "big") + bytes((code >> 4, 0, 0, 0, 0, 0))
    flags = _QR | _AA | _RA | (question.flags & _RD) | (code & 15)
    room = limit - question.end - len(extra)
    body = b"".join(records)
    count = len(records)
    if len(body) > room:
        flags |= _TC
        count = 0
        for record in records:
            room -= len(record)
            if room < 0:
                break
            count += 1
        body = b"".join(records[:count])
    head = message[:2] + flags.to_bytes(2, "big") + b"\0\1" + count.to_bytes(2, "big") + b"\0\0"
    return head + (b"\0\1" if extra else b"\0\0") + message[12 : question.end] + body + extra


def failure(message: bytes, code: int) -> bytes:
    """The answer to a message that `parse` gave `code` for: a bare header."""
    return message[:2] + bytes((0x80 | message[2] & 0x79, 0x80 | code & 15)) + bytes(8)


def address(text: str) -> bytes:
    """An A record of IPv4 address `text` for the name in the question."""
    return b"\xc0\x0c\0\1\0\1" + LIFETIME.to_bytes(4, "big") + b"\0\4" + _socket.inet_aton(text)


def address6(text: str) -> bytes:
    """An AAAA record of IPv6 address `text` for the name in the question."""
    data = _socket.inet_pton(_socket.AF_INET6, text)
    return b"\xc0\x0c\0\x1c\0\1" + LIFETIME.to_bytes(4, "big") + b"\0\x10" + data


def pointer(name: str) -> bytes:
    """A PTR record that says `name`; empty when that is not a valid domain name."""
    wire = wire_name(name)
    if not wire:
        return b""
    return b"\xc0\x0c\0\x0c\0\1" + LIFETIME.to_bytes(4, "big") + len(wire).to_bytes(2, "big") + wire


def wire_name(name: str) -> bytes:
    """`name` as labels; empty when it is not a valid domain name."""
    wire = bytearray()
    for label in name.rstrip(".").split("."):
        data = label.encode("utf-8", "replace")
        if not 0 < len(data) < 64:
            return b""
        wire.append(len(data))
        wire += data
    return bytes(wire) + b"\0" if len(wire) < 255 else b""


def reverse_address(name: str) -> str | None:
    """The IPv4 address that the PTR name `name` asks for: ``4.3.2.10.in-addr.arpa`` is 10.2.3.4."""
    if not name.endswith(_SUFFIX):
        return None
    parts = name[: -len(_SUFFIX)].split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
        return None
    return ".".join(reversed(parts))


def query(name: str, kind: int = A, *, identity: int = 0, size: int = 0) -> bytes:
    """A question for `name`, with EDNS when the client takes `size` bytes."""
    head = identity.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0" + (b"\0\1" if size else b"\0\0")
    body = (wire_name(name) or b"\0") + kind.to_bytes(2, "big") + b"\0\1"
    return head + body + (b"\0\0\x29" + size.to_bytes(2, "big") + bytes(6) if size else b"")


def answers(sent: bytes, question_end: int, got: bytes) -> bool:
    """Whether `got` is the answer of a resolver to `sent`, whose question section ends at `question_end`.

    A resolver may leave out the question of a message that it refuses.
    """
    if len(got) < 12 or not got[2] & 0x80 or got[:2] != sent[:2]:
        return False
    if got[4:6] == b"\0\1":
        return got[12:question_end].lower() == sent[12:question_end].lower()
    return got[4:6] == b"\0\0" and got[3] & 15 != NO_ERROR


def for_client(identity: int, answer: bytes, question_end: int, limit: int) -> bytes:
    """A resolver's answer with the client's number, cut to its question when it is longer than `limit`."""
    number = identity.to_bytes(2, "big")
    if len(answer) <= limit:
        return number + answer[2:]
    return number + bytes((answer[2] | 2, answer[3])) + b"\0\1" + bytes(6) + answer[12:question_end]
