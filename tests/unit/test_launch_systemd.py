"""What is said to systemd, and what is made of its answers; a manager of a few lines stands in for it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest

from compose.runtime.cgroups import common, systemd, v2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOB = "/org/freedesktop/systemd1/job/7"
SCOPE = "pycompose-demo.scope"
EXISTS = "org.freedesktop.systemd1.UnitExists"
GONE = "org.freedesktop.DBus.Error.InvalidArgs"


class Manager:
    """systemd: keeps the calls, and gives them the answers that a test has laid ready, by method."""

    def __init__(self, path: str) -> None:
        self.calls: list[tuple[str, bytes]] = []
        self.answers: dict[str, list[str]] = {"StartTransientUnit": [], "AttachProcessesToUnit": []}
        """For each call: the name of an error, or what became of the job."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            pending = b""
            while not pending.endswith(b"BEGIN\r\n"):
                pending += connection.recv(4096)
            connection.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
            pending = b""
            while part := connection.recv(4096):
                pending += part
                while (length := systemd._length(pending)) is not None and len(pending) >= length:
                    serial = struct.unpack_from("<I", pending, 8)[0]
                    self._answer(connection, systemd._parse(pending[:length]), serial)
                    pending = pending[length:]

    def _answer(self, connection: socket.socket, message: systemd.Message, serial: int) -> None:
        member = str(message.fields[systemd._MEMBER])
        self.calls.append((member, message.body))
        answer = self.answers[member].pop(0) if member in self.answers else ""
        if "." in answer:
            connection.sendall(_message(systemd._ERROR, serial, error=answer))
            return
        if member == "StartTransientUnit":
            connection.sendall(_message(systemd._SIGNAL, 0, member="JobRemoved", body=_removed(answer)))
        connection.sendall(_message(systemd._RETURN, serial, body=_text(JOB)))


def _text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode() + b"\0"


def _removed(result: str) -> bytes:
    body = struct.pack("<I", 7)
    for value in (JOB, SCOPE, result):
        body += bytes(-len(body) % 4) + _text(value)
    return body


def _message(kind: int, reply_to: int, *, error: str = "", member: str = "", body: bytes = b"") -> bytes:
    fields = struct.pack("<BB", systemd._REPLY_SERIAL, 1) + b"u\0" + struct.pack("<I", reply_to)
    for code, value in ((systemd._ERROR_NAME, error), (systemd._MEMBER, member)):
        if value:
            fields += bytes(-len(fields) % 8) + struct.pack("<BB", code, 1) + b"s\0" + _text(value)
    header = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), 1, len(fields)) + fields
    return header + bytes(-len(header) % 8) + body


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    path = f"{tmp_path}/private"
    monkeypatch.setattr(systemd, "_PRIVATE_SOCKET", path)
    found = Manager(path)
    try:
        yield found
    finally:
        found.close()


def enter() -> None:
    systemd.enter_scope(SCOPE, 4711, "a project", "_keeper")


def names(manager: Manager) -> list[str]:
    return [member for member, _ in manager.calls]


def test_a_scope_is_made_and_waited_for(manager: Manager) -> None:
    manager.answers["StartTransientUnit"] = ["done"]
    enter()
    assert names(manager) == ["Subscribe", "StartTransientUnit"]
    body = manager.calls[1][1]
    assert body.startswith(_text(SCOPE)) and b"Delegate" in body and struct.pack("<II", 4, 4711) in body
    before, found, after = body.partition(_text("TasksMax") + b"\1t\0")
    assert found and after[-(len(before) + len(found)) % 8 :].startswith(8 * b"\xff")


def test_a_scope_lies_in_the_slice_that_was_named(manager: Manager) -> None:
    manager.answers["StartTransientUnit"] = ["done"]
    systemd.enter_scope(SCOPE, 4711, "a container", "_keeper", "a-b.slice")
    body = manager.calls[1][1]
    _, found, value = body.partition(_text("Slice") + b"\1s\0")
    assert found and value.lstrip(b"\0").startswith(_text("a-b.slice").lstrip(b"\0"))


def test_slices_that_are_not_there_are_made_for_the_scope(manager: Manager) -> None:
    manager.answers["StartTransientUnit"] = [EXISTS, "done"]
    systemd.enter_scope(SCOPE, 4711, "a container", "_keeper", "a-b.slice", ["a-b.slice", "a.slice"])
    (_, with_them), (_, without) = manager.calls[1:]
    assert (with_them.count(b"StopWhenUnneeded"), without.count(b"StopWhenUnneeded")) == (2, 0)
    assert without.endswith(struct.pack("<I", 0))
    one = systemd._Body()
    one.units(["a.slice"], [systemd._property("StopWhenUnneeded", "b", True)])
    properties = _text("StopWhenUnneeded") + b"\1b\0" + struct.pack("<I", 1)
    assert one.data == struct.pack("<II", 44, 0) + _text("a.slice") + struct.pack("<I", 28) + properties


def test_a_scope_that_still_has_processes_is_joined(manager: Manager) -> None:
    manager.answers |= {"StartTransientUnit": [EXISTS], "AttachProcessesToUnit": [""]}
    enter()
    assert names(manager)[1:] == ["StartTransientUnit", "AttachProcessesToUnit"]
    body = manager.calls[2][1]
    assert body.startswith(_text(SCOPE)) and _text("/_keeper") in body
    assert body.endswith(struct.pack("<II", 4, 4711))


def test_a_scope_that_goes_away_is_made_again(manager: Manager) -> None:
    manager.answers |= {"StartTransientUnit": [EXISTS, EXISTS, "done"], "AttachProcessesToUnit": [GONE, GONE]}
    enter()
    assert names(manager)[1:] == 2 * ["StartTransientUnit", "AttachProcessesToUnit"] + ["StartTransientUnit"]


def test_a_scope_that_has_ended_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its group is left to systemd, which would not notice the end otherwise."""
    group, unit = tmp_path / "system.slice" / SCOPE, tmp_path / SCOPE
    (group / "_keeper").mkdir(parents=True)
    unit.touch()
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            unit.unlink()

    monkeypatch.setattr(systemd, "_UNITS", str(tmp_path))
    monkeypatch.setattr(common, "ROOT", str(tmp_path))
    monkeypatch.setattr(time, "sleep", sleep)
    v2.remove_base(f"system.slice/{SCOPE}")
    assert (len(looks), group.is_dir()) == (3, True)


@pytest.mark.parametrize("answer", ["failed", "org.freedesktop.DBus.Error.AccessDenied"])
def test_what_systemd_refuses_is_an_error(manager: Manager, answer: str) -> None:
    manager.answers["StartTransientUnit"] = [answer]
    with pytest.raises(OSError, match=answer.rpartition(".")[2]) as caught:
        enter()
    assert not isinstance(caught.value, systemd.ScopeExists)
