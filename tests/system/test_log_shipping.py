"""Lines of real containers on their way to real sockets: whole, in order, and never waited for."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.containers import Stand, wait_for_end
from tests.support.patience import MOMENT
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path


def logging(address: object, *, stream: bool, driver: str = "syslog", **options: str) -> dict[str, Any]:
    rest = {"tag": "t", "extra": {}, "options": options, "facility": 3}
    return {
        "driver": driver,
        "max_size": 1 << 20,
        "max_files": 3,
        "address": address,
        "stream": stream,
        **rest,
    }


class Collector:
    """One end of a socket that lines arrive at."""

    def __init__(self, one: socket.socket) -> None:
        self._socket = one
        self._rest = b""

    def receive(self, count: int) -> list[bytes]:
        """At least so many lines, without the head that each has."""
        found: list[bytes] = []
        while len(found) < count:
            assert select.select([self._socket], [], [], MOMENT)[0], f"{len(found)} of {count} lines"
            lines = self.more()
            assert lines is not None, f"{len(found)} of {count} lines"
            found += lines
        return found

    def more(self) -> list[bytes] | None:
        """The lines that come next; None at the end."""
        data = self._socket.recv(1 << 20)
        if self._socket.type == socket.SOCK_DGRAM:
            lines = [data]
        elif not data:
            return None
        else:
            *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.partition(b"]: ")[2] for line in lines]


def receive(one: socket.socket, count: int) -> list[bytes]:
    return Collector(one).receive(count)


def numbers(count: int, first: int = 1) -> list[bytes]:
    return [b"line %d" % number for number in range(first, first + count)]


@pytest.mark.parametrize("stream", [True, False])
def test_every_line_arrives_over_a_unix_socket(stand: Stand, tmp_path: Path, stream: bool) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as server:
        server.bind(path)
        if stream:
            server.listen()
        identity = stand.shell(
            "for i in 1 2 3; do seq 1000 | sed 's/^/line /'; done; printf end",
            logging=logging(path, stream=stream),
        )
        with contextlib.ExitStack() as stack:
            one = stack.enter_context(server.accept()[0]) if stream else server
            assert receive(one, 3001) == [*numbers(1000) * 3, b"end"]
        stand.keeper.wait(identity)
        assert len(stand.lines(identity)) == 3001  # `logs` has them as well


def test_udp_and_both_streams(stand: Stand) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        stand.shell(
            "echo out; sleep 0.1; echo err >&2", logging=logging([*server.getsockname()], stream=False)
        )
        first, second = server.recv(1000), server.recv(1000)
    assert (first[:4], second[:4]) == (b"<30>", b"<27>")
    assert (first[-3:], second[-3:]) == (b"out", b"err")


def test_nobody_waits_for_a_collector_that_does_not_read(stand: Stand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        identity = stand.shell(
            "seq 200000; echo finished", logging=logging([*server.getsockname()], stream=True)
        )
        state = stand.keeper.wait(identity)
        assert (state["status"], state["exit_code"]) == ("exited", 0)
        assert stand.lines(identity)[-1] == b"finished"


def test_lines_wait_for_a_collector_that_comes_later(stand: Stand) -> None:
    address = ("127.0.0.1", free_port())
    identity = stand.shell("seq 50 | sed 's/^/line /'; sleep 1000", logging=logging([*address], stream=True))
    stand.until_written(identity, b"line 50")
    with socket.create_server(address, reuse_port=False) as server:
        with server.accept()[0] as first:
            assert receive(first, 50) == numbers(50)
        null = os.open("/dev/null", os.O_RDWR)
        process = {**stand_process(stand, identity), "args": ["sh", "-c", "echo line 51 > /proc/1/fd/1"]}
        stand.keeper.exec(identity, process, [null] * 3).close()  # type: ignore[arg-type]
        os.close(null)
        with server.accept()[0] as second:  # it has hung up, and is connected to again
            assert receive(second, 1) == [b"line 51"]


def stand_process(stand: Stand, identity: str) -> dict[str, Any]:
    from compose.runtime.records import read_spec

    return dict(read_spec(stand.paths, identity)["oci"]["process"])


def test_a_killed_monitor_loses_no_line_and_a_new_run_goes_on(stand: Stand, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(path)
        server.listen()
        script = "read x < /go; seq 3000 | sed 's/^/line /'; sleep 1000"
        identity = stand.make(
            "sh", "-c", f"mkfifo /go 2>/dev/null; echo begun; {script}", logging=logging(path, stream=True)
        )
        stand.keeper.start(identity)
        with server.accept()[0] as one:
            collector = Collector(one)
            found = collector.receive(1)
            null = os.open("/dev/null", os.O_RDWR)
            process = {**stand_process(stand, identity), "args": ["sh", "-c", "echo > /go"]}
            stand.keeper.exec(identity, process, [null] * 3).close()  # type: ignore[arg-type]
            os.close(null)
            found += collector.receive(500)
            monitor = stand.state(identity)["monitor_pid"]
            os.kill(monitor, 9)
            wait_for_end([monitor])
            while (lines := collector.more()) is not None:  # what was under way
                found += lines
        with server.accept()[0] as one:
            collector = Collector(one)
            while found[-1] != b"line 3000":
                found += collector.receive(1)
        assert list(dict.fromkeys(found)) == [b"begun", *numbers(3000)]
        assert len(found) < 3000 * 2
        stand.keeper.stop(identity)
        stand.keeper.start(identity)
        with server.accept()[0] as one:
            assert receive(one, 1) == [b"begun"]


def test_an_entry_that_is_too_long_for_a_socket_goes_through_memory(stand: Stand, tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        stand.shell(
            "yes | tr -d '\\n' | head -c 500000; echo", logging=logging(path, stream=False, driver="journald")
        )
        data, descriptors, _flags, _address = socket.recv_fds(server, 100, 1)
        assert data == b""
        with os.fdopen(descriptors[0], "rb") as file:
            file.seek(0)
            text = file.read()
    assert text.startswith(b"MESSAGE=" + b"y" * 500_000 + b"\nPRIORITY=6\n")


@pytest.mark.parametrize("driver", ["gelf", "fluentd"])
def test_other_drivers_are_loaded_when_asked_for(stand: Stand, driver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        stand.shell("echo hello", logging=logging([*server.getsockname()], stream=True, driver=driver))
        with server.accept()[0] as one:
            assert b"hello" in one.recv(65536)
