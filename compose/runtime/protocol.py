"""What keeper, monitors and clients say to each other: one JSON object a packet, with descriptors beside it.

A request is ``{"v": 1, "op": ...}``. The answer is ``{"ok": true, ...}`` or ``{"ok": false, "error": text,
"hint": text or null}``. An object that is too long for a packet travels in a memfd, as the first descriptor
of a packet that says only ``{"memfd": true}``.
"""

from __future__ import annotations

import os

from compose.errors import ContainerError, StateError
from compose.linux import sockets
from compose.state.files import dumps as dumps
from compose.state.files import loads as loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from compose.linux.sockets import Socket

    Message = dict[str, Any]

VERSION = 1
KEEPER_MODULE = "compose.runtime.supervision.keeper"
"""What a keeper is executed from; its command line names it."""
KEEPER_SOCKET = "keeper.sock"
MONITOR_SOCKET = "monitor.sock"

RUNNING = "running"
"""`ContainerError.reason` of a start: there is a monitor for the container already."""
LOST = "lost"
"""`ContainerError.reason` of a start: the keeper does not hold what the container needs."""
CANCELLED = "cancelled"
"""`ContainerError.reason` of a container that lives no longer than a call, and was ended on request."""

_LONGEST = 32768
_MOST_AT_ONCE = 250
"""Descriptors in a packet: the kernel allows 253 (SCM_MAX_FD), and a long message is one of them."""


def send(connection: Socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one object; raises `OSError` when nobody listens any more."""
    data = dumps(message)
    if len(data) <= _LONGEST:
        sockets.send(connection, data, descriptors)
        return
    parcel = os.memfd_create("pycompose message", os.MFD_CLOEXEC)
    try:
        os.write(parcel, data)
        sockets.send(connection, b'{"memfd":true}', (parcel, *descriptors))
    finally:
        os.close(parcel)


def receive(connection: Socket) -> tuple[Message | None, list[int]]:
    """One object and its descriptors; None when the other side has gone. Raises `OSError`, `ValueError`."""
    try:
        data, descriptors = sockets.receive(connection)
    except ConnectionResetError:
        return None, []
    if not data:
        return None, descriptors
    message = loads(data)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    if message.get("memfd"):
        parcel = descriptors.pop(0)
        try:
            message = loads(os.pread(parcel, os.fstat(parcel).st_size, 0))
        finally:
            os.close(parcel)
    return message, descriptors


def request(connection: Socket, op: str, descriptors: Sequence[int] = (), **fields: Any) -> None:
    """Send a request of our version."""
    send(connection, {"v": VERSION, "op": op, **fields}, descriptors)


def batches(named: Mapping[str, Sequence[int]]) -> Iterator[tuple[list[list[Any]], list[int]]]:
    """Descriptors under their names as requests to ``put`` carry them, no more at once than a packet holds:
    pairs of a name and how many are its, and all of them."""
    names: list[list[Any]] = []
    flat: list[int] = []
    for name, descriptors in named.items():
        if names and len(flat) + len(descriptors) > _MOST_AT_ONCE:
            yield names, flat
            names, flat = [], []
        names.append([name, len(descriptors)])
        flat += descriptors
    if names:
        yield names, flat


def answer(connection: Socket, descriptors: Sequence[int] = (), **fields: Any) -> None:
    """Send a favourable answer; that nobody waits for it any more is no error."""
    try:
        send(connection, {"ok": True, **fields}, descriptors)
    except OSError:
        pass


def refuse(connection: Socket, error: Exception) -> None:
    """Send what went wrong; that nobody waits for it any more is no error."""
    try:
        answer = {"ok": False, "error": str(error) or type(error).__name__}
        answer["hint"] = getattr(error, "hint", None)
        answer["reason"] = getattr(error, "reason", "")
        send(connection, answer)
    except OSError:
        pass


def refusal(text: str, reason: str) -> ContainerError:
    """An error that the other side shall tell from others by its `reason`."""
    error = ContainerError(text)
    error.reason = reason
    return error


def check(message: Message | None) -> Message:
    """The answer, if it is favourable; raises `ContainerError` with what the other side said."""
    if message is None:
        raise ConnectionResetError("the other side has gone")
    if not message.get("ok"):
        error = ContainerError(str(message.get("error", "unknown answer")), hint=message.get("hint"))
        error.reason = str(message.get("reason") or "")
        raise error
    return message


def check_version(message: Message) -> None:
    """Refuse what a program of another generation asks; raises `StateError`."""
    if message.get("v") != VERSION:
        raise StateError(
            f"protocol {message.get('v')} is not spoken here, but {VERSION}",
            hint="run the version of pycompose that started the project, or `pycompose down` it first",
        )
