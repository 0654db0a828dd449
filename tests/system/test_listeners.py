"""Publishing ports: all of them or none, and who is in the way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from compose.errors import NetworkError
from compose.network.listeners import Port, bind_listeners, close_all, holder
from tests.support.network_lab import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compose.state.paths import Paths

pytestmark = pytest.mark.usefixtures("nothing_left")


def own_host(function: Callable[[], None]) -> None:
    """Call a function in a network namespace of its own, where nobody else takes ports."""
    from compose.linux.namespaces import CLONE_NEWNET, unshare
    from compose.linux.network import bring_loopback_up

    def call() -> None:
        unshare(CLONE_NEWNET)
        bring_loopback_up()
        function()

    in_thread(call)


@pytest.fixture
def taken(paths: Paths) -> Iterator[int]:
    """A port that this process has on 127.0.0.1."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def port(target: str, published: str = "", **more: str) -> Port:
    return Port("c" * 64, "10.0.0.2", target, published=published, **more)


def bound(*ports: Port) -> list[tuple[str, int, int]]:
    """Host address, host port and target of each listener."""
    made = bind_listeners(ports)
    try:
        return [(one.host_ip, one.host_port, one.target) for one in made]
    finally:
        close_all(made)


def test_both_families_without_an_address_and_one_with() -> None:
    def check() -> None:
        assert bound(port("80", "8080")) == [("0.0.0.0", 8080, 80), ("::", 8080, 80)]
        assert bound(port("80", "8080", host_ip="127.0.0.1")) == [("127.0.0.1", 8080, 80)]
        assert bound(port("80", "8080", host_ip="[::1]")) == [("::1", 8080, 80)]
        assert len(bound(port("53", "53"), port("53", "53", protocol="udp"))) == 4

    own_host(check)


def test_ranges() -> None:
    def check() -> None:
        local = "127.0.0.1"
        pairs = bound(port("80-82", "8080-8082", host_ip=local))
        assert pairs == [(local, 8080 + n, 80 + n) for n in range(3)]
        with socket.socket() as other:
            other.bind((local, 8080))
            other.listen()
            # three replicas, each with the first free one of the range; the fixed port is not taken by them
            replicas = [port("80", "8080-8084", host_ip=local) for _ in range(3)]
            assert [number for _, number, _ in bound(*replicas, port("90", "8082", host_ip=local))] == [
                8081,
                8083,
                8084,
                8082,
            ]
            with pytest.raises(NetworkError, match="8084/tcp"):
                bound(*replicas, *replicas)

    own_host(check)


def test_spare_ports_are_the_same_for_both_families() -> None:
    def check() -> None:
        first, second = bound(port("80"))
        assert first[1] == second[1] > 0
        spare = bound(port("80-82"))
        assert len({number for _, number, _ in spare}) == 3
        assert [target for _, _, target in spare] == [80, 80, 81, 81, 82, 82]

    own_host(check)


def test_the_name_in_the_keeper() -> None:
    def check() -> None:
        made = bind_listeners([port("80", "8080", host_ip="::1", protocol="udp")])
        assert made[0].name == f"listen/{'c' * 64}/udp/::1/8080/10.0.0.2/80"
        assert not os.get_inheritable(made[0].fileno())
        close_all(made)

    own_host(check)


def test_a_taken_port_names_its_holder_and_binds_nothing(taken: int) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        spare = free.getsockname()[1]
    with pytest.raises(NetworkError) as caught:
        bind_listeners(
            [
                port("80", str(spare), host_ip="127.0.0.1", owner="web"),
                port("81", str(taken), host_ip="127.0.0.1", owner="api"),
            ]
        )
    with open("/proc/self/comm") as file:
        name = file.read().strip()
    assert str(caught.value) == (
        f"api: publish port 127.0.0.1:{taken}/tcp: {name} (process {os.getpid()}) has it already"
    )
    assert caught.value.hint == f"kill {os.getpid()}, or publish another port"
    assert holder(taken) == (os.getpid(), name)
    assert bound(port("80", str(spare), host_ip="127.0.0.1")) == [("127.0.0.1", spare, 80)]
    assert holder(spare) is None


def test_a_port_of_another_project_names_the_project(paths: Paths) -> None:
    """Its keeper, or a monitor or netd forked from it, has the listener."""
    line = "from compose.runtime.supervision.keeper import main"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        holding = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", f"input() #{line}", '{"project":"blog"}'],
            pass_fds=[other.fileno()],
            stdin=subprocess.PIPE,
        )
    try:
        with pytest.raises(NetworkError) as caught:
            bind_listeners([port("80", str(number), host_ip="127.0.0.1")])
        assert str(caught.value) == f"publish port 127.0.0.1:{number}/tcp: project blog has it already"
        assert caught.value.hint == "pycompose -p blog down, or publish another port"
    finally:
        holding.communicate(b"\n")


def test_the_same_port_twice() -> None:
    def check() -> None:
        with pytest.raises(NetworkError) as caught:
            bind_listeners([port("80", "8080", owner="web"), port("81", "8080", owner="api")])
        assert str(caught.value) == (
            "api: publish port 8080/tcp: it is published twice, also for port 80 of web"
        )

    own_host(check)


def test_an_address_that_the_machine_does_not_have() -> None:
    def check() -> None:
        for address in ("192.0.2.77", "2001:db8::77"):
            with pytest.raises(NetworkError, match=f"this machine has no address {address}"):
                bind_listeners([port("80", "8080", host_ip=address)])

    own_host(check)


def test_an_address_that_is_none() -> None:
    with pytest.raises(NetworkError, match="port 80: host_ip 'localhost' is not an IP address"):
        bind_listeners([port("80", "80", host_ip="localhost")])
