"""Published UDP ports."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from compose.network.netd.loop import Loop
from compose.network.netd.udp import FIRST_IDLE, IDLE, UDPForwarder
from tests.support.network_lab import CLIENT, GATEWAY, HOST, HOST6, TARGET, Lab, until

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from compose.network.netd.inside import Place


def test_flows_are_kept_apart_and_clients_seen(lab: Lab) -> None:
    server = lab.listen("container", TARGET, 5000, socket.SOCK_DGRAM)
    port = lab.publish("0.0.0.0", 5000, socket.SOCK_DGRAM)
    lab.publish("::", 5000, socket.SOCK_DGRAM, port=port)
    lab.start()
    clients: list[tuple[socket.socket, tuple[str, int]]] = []
    for name, address, seen in (
        ("client", HOST, CLIENT),
        ("client", HOST, CLIENT),
        ("client", HOST6, GATEWAY),
        ("host", "127.0.0.1", GATEWAY),
        ("host", "::1", GATEWAY),
    ):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        client = lab.make(name, family, socket.SOCK_DGRAM)
        client.connect((address, port))  # takes answers from there only
        client.send(f"{len(clients)}".encode())
        data, source = server.recvfrom(100)
        assert (data, source[0]) == (f"{len(clients)}".encode(), seen), address
        clients.append((client, source))
    assert len({source for _, source in clients}) == len(clients)
    for number, (_, source) in enumerate(clients):
        server.sendto(f"answer {number}".encode(), source)
    for number, (client, _) in enumerate(clients):
        assert client.recv(100) == f"answer {number}".encode()
    assert lab.errors() == ""


def test_big_datagrams_and_many(lab: Lab) -> None:
    server = lab.listen("container", TARGET, 5000, socket.SOCK_DGRAM)
    port = lab.publish("0.0.0.0", 5000, socket.SOCK_DGRAM)
    lab.start()
    client = lab.make("client", socket.AF_INET, socket.SOCK_DGRAM)
    client.connect((HOST, port))
    for size in (0, 1, 1500, 9000, 65507):
        data = os.urandom(size)
        client.send(data)
        got, source = server.recvfrom(65536)
        assert got == data
        server.sendto(data, source)
        assert client.recv(65536) == data
    for number in range(2000):
        client.send(str(number).encode())
        assert server.recv(100) == str(number).encode()


def test_nobody_inside_and_then_somebody(lab: Lab) -> None:
    port = lab.publish("0.0.0.0", 5000, socket.SOCK_DGRAM)
    lab.start()
    client = lab.make("client", socket.AF_INET, socket.SOCK_DGRAM)
    client.connect((HOST, port))
    client.send(b"lost")
    client.send(b"lost too")
    server = lab.listen("container", TARGET, 5000, socket.SOCK_DGRAM)
    server.settimeout(0.05)

    def arrived() -> bytes:
        client.send(b"there")
        with contextlib.suppress(TimeoutError):
            return server.recv(100)
        return b""

    assert until(arrived)
    assert lab.errors() == ""


class Fake:
    """Gives sockets of this namespace, at once."""

    def take(self, family: int, kind: int, taker: Callable[[_socket.socket], None]) -> None:
        made = socket.socket(family, kind)
        made.setblocking(False)
        taker(made)

    def prepare(self, family: int, kind: int) -> None:
        pass


def test_idle_flows_are_forgotten(nothing_left: None) -> None:
    failures: list[BaseException] = []
    loop = Loop(failures.append)
    now = [0.0]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
    ):
        server.bind(("127.0.0.1", 0))
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("127.0.0.1", 0))
        inside: Place = Fake()  # type: ignore[assignment]
        forwarder = UDPForwarder(loop, inside, listener, server.getsockname(), clock=lambda: now[0])

        def turn(true: Callable[[], object]) -> None:
            """Let the loop run until this is so."""

            def look() -> None:
                if true():
                    loop.running = False
                else:
                    loop.after(0.001, look)

            loop.running = True
            loop.after(0, look)
            loop.run()

        first.sendto(b"1", listener.getsockname())
        turn(lambda: len(forwarder.flows) == 1)
        server.sendto(b"answer", server.recvfrom(10)[1])
        turn(lambda: all(flow.answered for flow in forwarder.flows.values()))
        second.sendto(b"2", listener.getsockname())
        turn(lambda: len(forwarder.flows) == 2)
        now[0] = FIRST_IDLE + 1
        forwarder.sweep()
        assert [flow.answered for flow in forwarder.flows.values()] == [True]
        now[0] = IDLE + 1
        forwarder.sweep()
        assert not forwarder.flows
        forwarder.close()
        turn(lambda: True)
    assert not failures
