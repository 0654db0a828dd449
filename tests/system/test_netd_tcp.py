"""Published TCP ports, over real namespaces: who is seen inside, and that no byte is lost."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import select
import socket
import struct
import threading
from typing import TYPE_CHECKING

import pytest

from compose.linux import sockets
from tests.support.network_lab import (
    CLIENT,
    CLIENT6,
    CONTAINER,
    GATEWAY,
    GATEWAY6,
    HOST,
    HOST6,
    TARGET,
    TARGET6,
    Lab,
    Server,
    read_all,
    until,
)
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def echo(lab: Lab) -> Iterator[Server]:
    """A server in the container that sends everything back, and then the end."""

    def serve(client: socket.socket) -> None:
        while data := client.recv(65536):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    with contextlib.closing(Server(lab.listen("container", TARGET, 80), serve)) as made:
        yield made


def connect(lab: Lab, name: str, address: str, port: int) -> socket.socket:
    made = lab.make(name, socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.connect((address, port))
    return made


def ask(lab: Lab, name: str, address: str, port: int, data: bytes = b"hello") -> bytes:
    with connect(lab, name, address, port) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def test_the_container_sees_the_client(lab: Lab, echo: Server) -> None:
    port = lab.publish("0.0.0.0", 80)
    lab.publish("::", 80, port=port)
    lab.start()
    for name, address, seen in (
        ("client", HOST, CLIENT),
        ("host", "127.0.0.1", GATEWAY),
        ("host", "::1", GATEWAY),
        ("client", HOST6, GATEWAY),  # no IPv6 inside
        ("host", HOST, HOST),
    ):
        assert ask(lab, name, address, port) == b"hello", address
        assert echo.peers[-1] == seen, address
    assert lab.errors() == ""


def test_the_container_sees_the_client_by_ipv6(lab: Lab) -> None:
    server = Server(lab.listen("container", TARGET6, 80), lambda client: client.sendall(read_all(client)))
    port = lab.publish("::", 80, target=TARGET6)
    lab.start()
    for name, address, seen in (
        ("client", HOST6, CLIENT6),
        ("host", "::1", GATEWAY6),
        ("host", HOST6, HOST6),
    ):
        assert ask(lab, name, address, port) == b"hello", address
        assert server.peers[-1] == seen, address
    server.close()
    assert lab.errors() == ""


def test_a_port_of_one_address_is_on_no_other(lab: Lab, echo: Server) -> None:
    port = lab.publish("127.0.0.1", 80)
    lab.start()
    assert ask(lab, "host", "127.0.0.1", port) == b"hello"
    with pytest.raises(ConnectionRefusedError):
        ask(lab, "client", HOST, port)


def test_what_is_published_later_and_dropped(lab: Lab, echo: Server) -> None:
    lab.start()
    port = lab.publish("0.0.0.0", 80)
    client = connect(lab, "client", HOST, port)
    client.sendall(b"a")
    assert client.recv(10) == b"a"
    lab.drop(f"listen/{CONTAINER}/tcp/0.0.0.0/{port}/{TARGET}/80")

    def refused() -> bool:
        try:
            ask(lab, "client", HOST, port)
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:  # it was in the queue of the listener
            return False
        return False

    until(refused)
    client.sendall(b"b")  # connections go on
    assert client.recv(10) == b"b"
    client.close()


def test_the_end_of_one_direction_is_not_the_end_of_the_other(lab: Lab) -> None:
    def serve(client: socket.socket) -> None:
        everything = read_all(client)  # until the client has ended its direction
        client.sendall(str(len(everything)).encode())
        client.sendall(bytes(1 << 20))

    with contextlib.closing(Server(lab.listen("container", TARGET, 80), serve)):
        port = lab.publish("0.0.0.0", 80)
        lab.start()
        answer = ask(lab, "client", HOST, port, bytes(3 << 20))
        assert answer == b"3145728" + bytes(1 << 20)


def test_the_server_may_end_first(lab: Lab) -> None:
    received: list[int] = []

    def serve(client: socket.socket) -> None:
        client.sendall(b"bye")
        client.shutdown(socket.SHUT_WR)
        received.append(len(read_all(client)))

    with contextlib.closing(Server(lab.listen("container", TARGET, 80), serve)):
        port = lab.publish("0.0.0.0", 80)
        lab.start()
        with connect(lab, "client", HOST, port) as client:
            assert read_all(client) == b"bye"
            client.sendall(bytes(2 << 20))
        until(lambda: received)
        assert received == [2 << 20]


def test_refused_inside_is_reset_outside(lab: Lab) -> None:
    port = lab.publish("0.0.0.0", 81)
    lab.start()
    for name, address in (("client", HOST), ("host", "127.0.0.1")):
        with pytest.raises(ConnectionResetError):
            connect(lab, name, address, port).recv(1)


def test_a_reset_is_passed_on_both_ways(lab: Lab) -> None:
    seen: list[type[BaseException] | bytes] = []
    ready = threading.Event()

    def serve(client: socket.socket) -> None:
        if client.recv(1) == b"r":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        ready.set()
        try:
            seen.append(client.recv(1))
        except OSError as error:
            seen.append(type(error))

    with contextlib.closing(Server(lab.listen("container", TARGET, 80), serve)):
        port = lab.publish("0.0.0.0", 80)
        lab.start()
        with connect(lab, "client", HOST, port) as client:
            client.sendall(b"r")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        client = connect(lab, "client", HOST, port)
        client.sendall(b"x")
        assert ready.wait(MOMENT)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        until(lambda: seen)
        assert seen == [ConnectionResetError]


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """As many as the hard limit allows: a login shell's soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connections_at_once(lab: Lab, echo: Server, many_descriptors: None) -> None:
    port = lab.publish("0.0.0.0", 80)
    lab.start()
    clients = [lab.make("client") for _ in range(1000)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex((HOST, port))
    for client in clients:
        waiter = select.poll()
        waiter.register(client, select.POLLOUT)
        assert waiter.poll(MOMENT * 1000)
        client.settimeout(MOMENT)
    for number, client in enumerate(clients):
        client.sendall(number.to_bytes(4, "big"))
    for number, client in enumerate(clients):
        assert client.recv(4) == number.to_bytes(4, "big")
    assert len(echo.peers) == 1000 and set(echo.peers) == {CLIENT}
    for client in clients:
        client.close()
    assert lab.errors() == ""


def test_big_transfers_arrive_whole_both_ways_at_once(lab: Lab, echo: Server) -> None:
    port = lab.publish("0.0.0.0", 80)
    lab.start()
    size = 64 << 20
    block = os.urandom(1 << 20)
    digests: list[str] = []

    def transfer() -> None:
        client = connect(lab, "client", HOST, port)
        sent = hashlib.sha256()

        def send() -> None:
            for number in range(size >> 20):
                piece = number.to_bytes(4, "big") + block[4:]
                sent.update(piece)
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = hashlib.sha256()
        while piece := client.recv(1 << 18):
            got.update(piece)
        sender.join()
        client.close()
        digests.append(sent.hexdigest() == got.hexdigest() and sent.hexdigest() or "different")

    threads = [threading.Thread(target=transfer) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(digests) == 2 and "different" not in digests


def test_who_does_not_read_holds_up_the_sender_and_nobody_else(lab: Lab) -> None:
    sent = [0]
    held_up = threading.Event()

    def serve(client: socket.socket) -> None:
        if client.recv(1) != b"b":
            client.sendall(b"ok")
            return
        client.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                sent[0] += client.send(bytes(1 << 18))
        held_up.set()
        client.settimeout(MOMENT)
        read_all(client)

    with contextlib.closing(Server(lab.listen("container", TARGET, 80), serve)):
        port = lab.publish("0.0.0.0", 80)
        lab.start()
        slow = lab.make("client")
        slow.connect((HOST, port))
        slow.sendall(b"b")
        assert held_up.wait(MOMENT)
        with connect(lab, "client", HOST, port) as client:
            client.sendall(b"a")
            assert client.recv(10) == b"ok"
        slow.shutdown(socket.SHUT_WR)
        got = 0
        while data := slow.recv(1 << 18):
            got += len(data)
        assert got == sent[0]
        assert sent[0] < 32 << 20  # what the kernel's buffers hold, and one piece of ours


def test_a_killed_netd_is_replaced_and_the_listeners_go_on(lab: Lab, echo: Server) -> None:
    port = lab.publish("0.0.0.0", 80)
    lab.start()
    for _ in range(3):
        assert ask(lab, "client", HOST, port) == b"hello"
        lab.kill()
        with connect(lab, "client", HOST, port) as client:  # the kernel takes it for the successor
            lab.start()
            client.sendall(b"waited")
            client.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"waited"


def test_netd_outlives_its_keeper_until_the_next_one(lab: Lab, echo: Server) -> None:
    keeper = f"{lab.paths.project_run('lab')}/keeper.json"
    with open(keeper, "w") as file:
        file.write('{"pid": 1}')
    port = lab.publish("0.0.0.0", 80)
    lab.start()
    assert lab.control and lab.netd
    assert ask(lab, "client", HOST, port) == b"hello"
    lab.control.close()
    assert ask(lab, "client", HOST, port) == b"hello"
    with open(keeper, "w") as file:
        file.write('{"pid": 2}')
    assert lab.netd.wait(MOMENT) == 0


def test_netd_ends_with_its_project(lab: Lab) -> None:
    lab.start()
    assert lab.control and lab.netd
    lab.control.close()
    assert lab.netd.wait(MOMENT) == 0


def test_nonsense_from_the_keeper_ends_nothing(lab: Lab, echo: Server) -> None:
    lab.start()
    assert lab.control
    null = os.open("/dev/null", os.O_RDONLY)
    for packet, descriptors in (
        (b"put listen/x", [null]),
        (b"put listen/c/tcp/0.0.0.0/80/10.0.0.1/80", [null]),  # not a socket
        (b"put listen/c/tcp/0.0.0.0/80/10.0.0.1/80", []),
        (b"put dns/c", [null]),
        (b"put \xff", []),
        (b"drop nothing", []),
        (b"what", []),
    ):
        sockets.send(lab.control, packet, descriptors)
    os.close(null)
    port = lab.publish("0.0.0.0", 80)
    assert ask(lab, "client", HOST, port) == b"hello"
    assert "unknown command from the keeper: what" in lab.errors()
    assert lab.netd
    count = len(os.listdir(f"/proc/{lab.netd.pid}/fd"))
    sockets.send(lab.control, b"put dns/c", [lab.control.fileno()])
    lab.drop(f"listen/{CONTAINER}/tcp/0.0.0.0/{port}/{TARGET}/80")
    until(lambda: lab.netd and len(os.listdir(f"/proc/{lab.netd.pid}/fd")) < count)


def test_without_the_namespace_clients_are_reset_and_later_ones_served(lab: Lab, echo: Server) -> None:
    port = lab.publish("0.0.0.0", 80)
    path = lab.paths.project_namespace("late")
    lab.start(project="late")
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            connect(lab, "client", HOST, port).recv(1)
    lab.pin_again("sandbox", path)
    assert ask(lab, "client", HOST, port) == b"hello"


def test_without_descriptors_clients_are_reset_and_later_ones_served(lab: Lab, echo: Server) -> None:
    port = lab.publish("0.0.0.0", 80)
    lab.start()
    assert ask(lab, "client", HOST, port) == b"hello"
    assert lab.netd
    used = max(int(number) for number in os.listdir(f"/proc/{lab.netd.pid}/fd"))
    _, hard = resource.prlimit(lab.netd.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(lab.netd.pid, resource.RLIMIT_NOFILE, (used + 1, hard))
    kept = []
    with pytest.raises(ConnectionResetError):
        for _ in range(200):
            kept.append(connect(lab, "client", HOST, port))
        kept[-1].recv(1)
    for client in kept:
        client.close()
    resource.prlimit(lab.netd.pid, resource.RLIMIT_NOFILE, (hard, hard))
    until(lambda: _served(lab, port))


def _served(lab: Lab, port: int) -> bool:
    try:
        return ask(lab, "client", HOST, port) == b"hello"
    except ConnectionResetError:
        return False
