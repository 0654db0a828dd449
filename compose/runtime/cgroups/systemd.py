"""A transient systemd scope with Delegate=yes, asked for over D-Bus.

systemd owns the version 2 tree where it runs: whoever makes groups outside of a delegated one may find them
removed or their controllers taken away. The little of the D-Bus protocol that this needs is written out here:
the connection to systemd's own socket (root) or the bus, one method call, and the wait for the job's end.
"""

from __future__ import annotations

import _socket
import os
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    _Value = str | bool | int | list[int] | list[str]

BOOT_UNIT = "pycompose-boot.service"
"""The unit that stops containers before the machine goes down (cli/boot_unit.py): scopes end after it."""

_PRIVATE_SOCKET = "/run/systemd/private"
_BUS_SOCKET = "/run/dbus/system_bus_socket"
_UNITS = "/run/systemd/transient"
_TIMEOUT = 10.0
"""Seconds; systemd answers in milliseconds."""
_NO_LIMIT = 0xFFFF_FFFF_FFFF_FFFF
_EXISTS = "org.freedesktop.systemd1.UnitExists"
_LAST_BREATH = 2.0
"""Seconds that a scope whose last process has ended may take to be forgotten."""

_CALL, _RETURN, _ERROR, _SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8


def is_running() -> bool:
    """Whether systemd is this machine's init (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def enter_scope(
    name: str, pid: int, description: str, leaf: str, parent: str = "", slices: Sequence[str] = ()
) -> None:
    """Put process `pid` into the scope `name` and return once it is there; raises OSError.

    `parent` is the slice in which a new scope lies, where it is not the usual one. Of `slices`, those that
    systemd knows nothing of are made for this scope: they end with the last unit in them.

    A new scope has it at its top. One that is there already, because what a killed keeper has started still
    runs in it, has it in the group `leaf` below: the top has passed its controllers on.
    """
    connection = _Connection()
    deadline = time.monotonic() + _LAST_BREATH
    try:
        connection.call("Subscribe")
        while True:
            try:
                _start(connection, name, pid, description, parent, slices)
                return
            except ScopeExists:
                if slices:  # it may be one of these
                    slices = ()
                    continue
                try:
                    _attach(connection, name, pid, leaf)
                    return
                except OSError:  # its last process has just ended: it goes away
                    if time.monotonic() > deadline:
                        raise
            time.sleep(0.01)
    finally:
        connection.close()


def wait_for_end(name: str) -> None:
    """Wait until systemd has forgotten a scope whose last process has ended, but no longer than it takes.

    systemd removes the scope's group as well. Who does that before leaves the scope behind for ever: systemd
    does not notice the end of the last process in a group that is gone.
    """
    deadline = time.monotonic() + _LAST_BREATH
    while os.path.exists(f"{_UNITS}/{name}") and time.monotonic() < deadline:
        time.sleep(0.002)


class ScopeExists(OSError):
    """There is a unit of that name."""


def _start(
    connection: _Connection, name: str, pid: int, description: str, parent: str, slices: Sequence[str]
) -> None:
    # ssa(sv)a(sa(sv)): name, mode, properties, auxiliary units
    body = _Body()
    body.string(name)
    body.string("fail")
    properties = [_property("Description", "s", description), _property("Delegate", "b", True)]
    properties += [_property("PIDs", "au", [pid]), _property("CollectMode", "s", "inactive-or-failed")]
    properties.append(_property("Before", "as", [BOOT_UNIT]))
    properties.append(_property("TasksMax", "t", _NO_LIMIT))  # systemd's own default is for one program
    if parent:
        properties.append(_property("Slice", "s", parent))
    body.array(8, properties)
    body.units(slices, [_property("StopWhenUnneeded", "b", True)])
    answer = connection.call("StartTransientUnit", "ssa(sv)a(sa(sv))", bytes(body.data))
    connection.wait_for_job(_first_string(answer))


def _attach(connection: _Connection, name: str, pid: int, leaf: str) -> None:
    body = _Body()
    body.string(name)
    body.string(f"/{leaf}")
    body.words([pid])
    connection.call("AttachProcessesToUnit", "ssau", bytes(body.data))


class Message:
    """What of a received message is looked at."""

    __slots__ = ("body", "fields", "kind")

    def __init__(self, kind: int, fields: dict[int, str | int], body: bytes) -> None:
        self.kind = kind
        self.fields = fields
        self.body = body


class _Body:
    """Marshals values with D-Bus alignment, little-endian."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def word(self, value: int) -> None:
        self.align(4)
        self.data += struct.pack("<I", value)

    def string(self, text: str) -> None:
        content = text.encode()
        self.word(len(content))
        self.data += content + b"\0"

    def signature(self, text: str) -> None:
        self.data += bytes([len(text)]) + text.encode() + b"\0"

    def array(self, alignment: int, elements: list[tuple[str, str, _Value]]) -> None:
        """An array of (sv) structures."""
        self.word(0)
        place = len(self.data) - 4
        self.align(alignment)
        start = len(self.data)
        for key, kind, value in elements:
            self.align(8)
            self.string(key)
            self.signature(kind)
            self.variant(value)
        self.data[place : place + 4] = struct.pack("<I", len(self.data) - start)

    def units(self, names: Sequence[str], properties: list[tuple[str, str, _Value]]) -> None:
        """An array of (sa(sv)) structures: names, each with the same properties."""
        self.word(0)
        place = len(self.data) - 4
        self.align(8)
        start = len(self.data)
        for name in names:
            self.align(8)
            self.string(name)
            self.array(8, properties)
        self.data[place : place + 4] = struct.pack("<I", len(self.data) - start)

    def variant(self, value: _Value) -> None:
        if isinstance(value, str):
            self.string(value)
        elif isinstance(value, bool):
            self.word(int(value))
        elif isinstance(value, int):
            self.align(8)
            self.data += struct.pack("<Q", value)
        elif value and isinstance(value[0], str):
            self.strings([str(text) for text in value])
        else:
            self.words([int(number) for number in value])

    def strings(self, texts: list[str]) -> None:
        """An array of strings."""
        self.word(0)
        place = len(self.data) - 4
        for text in texts:
            self.string(text)
        self.data[place : place + 4] = struct.pack("<I", len(self.data) - place - 4)

    def words(self, numbers: list[int]) -> None:
        """An array of unsigned numbers."""
        self.word(4 * len(numbers))
        for number in numbers:
            self.word(number)


def _property(name: str, kind: str, value: _Value) -> tuple[str, str, _Value]:
    return name, kind, value


class _Connection:
    """A private connection to the manager: no bus daemon in between where we are root."""

    def __init__(self) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        self._socket.settimeout(_TIMEOUT)
        self._pending = b""
        self._signals: list[Message] = []
        self._serial = 0
        try:
            self._on_bus = self._connect()
            self._authenticate()
            if self._on_bus:
                self.call("Hello", bus=True)
        except BaseException:
            self._socket.close()
            raise

    def _connect(self) -> bool:
        try:
            self._socket.connect(_PRIVATE_SOCKET)
            return False
        except OSError:
            self._socket.connect(_BUS_SOCKET)
            return True

    def _authenticate(self) -> None:
        # All of it in one write: systemd reads BEGIN together with AUTH then. A call that arrives in the same
        # read as BEGIN would lie in its buffer until more data comes.
        identity = str(os.geteuid()).encode().hex()
        self._socket.sendall(b"\0AUTH EXTERNAL " + identity.encode() + b"\r\nBEGIN\r\n")
        if not self._line().startswith(b"OK"):
            raise OSError(13, "systemd refused the connection")

    def _line(self) -> bytes:
        while b"\r\n" not in self._pending:
            self._receive()
        line, _, self._pending = self._pending.partition(b"\r\n")
        return line

    def _receive(self) -> None:
        part = self._socket.recv(1 << 16)
        if not part:
            raise OSError(104, "systemd closed the connection")
        self._pending += part

    def close(self) -> None:
        self._socket.close()

    def call(self, member: str, signature: str = "", body: bytes = b"", *, bus: bool = False) -> bytes:
        """Call a method of the manager (or the bus) and return the body of its answer."""
        self._serial += 1
        serial = self._serial
        path, name = (
            ("/org/freedesktop/DBus", "org.freedesktop.DBus")
            if bus
            else ("/org/freedesktop/systemd1", "org.freedesktop.systemd1")
        )
        interface = name if bus else f"{name}.Manager"
        self._socket.sendall(_call(serial, path, interface, name, member, signature, body))
        for message in self._messages():
            if message.kind == _SIGNAL:
                self._signals.append(message)
            elif message.fields.get(_REPLY_SERIAL) == serial:
                if message.kind == _ERROR:
                    why = str(message.fields.get(_ERROR_NAME))
                    raise (ScopeExists if why == _EXISTS else OSError)(5, f"{member}: {why}")
                return message.body
        raise OSError(5, f"{member}: no answer")

    def wait_for_job(self, job: str) -> None:
        """Wait for the signal JobRemoved of `job`; OSError unless its result is "done"."""
        for message in self._all_signals():
            if message.fields.get(_MEMBER) == "JobRemoved":
                _, path, _, result = _job_removed(message.body)
                if path == job:
                    if result != "done":
                        raise OSError(5, f"the scope could not be started: {result}")
                    return

    def _all_signals(self) -> Iterator[Message]:
        yield from self._signals
        for message in self._messages():
            if message.kind == _SIGNAL:
                yield message

    def _messages(self) -> Iterator[Message]:
        while True:
            while True:
                length = _length(self._pending)
                if length is not None and len(self._pending) >= length:
                    break
                self._receive()
            raw, self._pending = self._pending[:length], self._pending[length:]
            yield _parse(raw)


def _call(
    serial: int, path: str, interface: str, destination: str, member: str, signature: str, body: bytes
) -> bytes:
    fields = _Body()
    entries = [(_PATH, "o", path), (_INTERFACE, "s", interface), (_MEMBER, "s", member)]
    entries.append((_DESTINATION, "s", destination))
    if signature:
        entries.append((_SIGNATURE, "g", signature))
    for code, kind, text in entries:
        fields.align(8)
        fields.data.append(code)
        fields.signature(kind)
        if kind == "g":
            fields.signature(text)
        else:
            fields.string(text)
    header = struct.pack("<cBBBIII", b"l", _CALL, 0, 1, len(body), serial, len(fields.data))
    message = header + bytes(fields.data)
    return message + bytes(-len(message) % 8) + body


def _length(data: bytes) -> int | None:
    """How long the first message in `data` is, as soon as that can be known."""
    if len(data) < 16:
        return None
    order = "<" if data[:1] == b"l" else ">"
    body, _, fields = struct.unpack_from(f"{order}III", data, 4)
    return int((16 + fields + 7) // 8 * 8 + body)


def _parse(data: bytes) -> Message:
    order = "<" if data[:1] == b"l" else ">"
    body, _, length = struct.unpack_from(f"{order}III", data, 4)
    fields: dict[int, str | int] = {}
    place, end = 16, 16 + length
    while place < end:
        place = (place + 7) // 8 * 8
        code, size = data[place], data[place + 1]
        kind = data[place + 2 : place + 2 + size].decode()
        place += 3 + size
        if kind == "g":
            fields[code] = data[place + 1 : place + 1 + data[place]].decode()
            place += 2 + data[place]
            continue
        place = (place + 3) // 4 * 4
        (number,) = struct.unpack_from(f"{order}I", data, place)
        place += 4
        if kind == "u":
            fields[code] = number
            continue
        fields[code] = data[place : place + number].decode()
        place += number + 1
    return Message(data[1], fields, data[len(data) - body :] if body else b"")


def _first_string(body: bytes) -> str:
    (length,) = struct.unpack_from("<I", body)
    return body[4 : 4 + length].decode()


def _job_removed(body: bytes) -> tuple[int, str, str, str]:
    """The signal's arguments: number, job path, unit, result."""
    (number,) = struct.unpack_from("<I", body)
    found = []
    place = 4
    for _ in range(3):
        place = (place + 3) // 4 * 4
        (length,) = struct.unpack_from("<I", body, place)
        found.append(body[place + 4 : place + 4 + length].decode())
        place += 4 + length + 1
    return number, found[0], found[1], found[2]
