"""Parts of netd that need no namespaces: what it imports, resolv.conf, the ports of a command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from compose.errors import NetworkError
from compose.network.listeners import Port, bind_listeners
from compose.network.netd.resolvers import nameservers

HEAVY = {
    "asyncio", "dataclasses", "enum", "inspect", "json", "logging", "pathlib", "pyroute2", "re", "selectors",
    "socket", "subprocess", "threading", "typing",
}  # fmt: skip
MODULES = 47  # beyond a bare interpreter


def test_netd_loads_little() -> None:
    script = """
import sys
before = set(sys.modules)
import compose.network.netd.process
print(*sorted(set(sys.modules) - before))
"""
    root = __file__.rpartition("/tests/")[0]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {root!r})\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert not HEAVY & loaded
    assert len(loaded) <= MODULES, sorted(loaded)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", [("127.0.0.1", 53)]),
        ("nameserver\nnameserver x\n# nameserver 1.1.1.1\n", [("127.0.0.1", 53)]),
        ("search lan\nnameserver 127.0.0.53\noptions edns0\n", [("127.0.0.53", 53)]),
        ("nameserver\t10.0.0.1 \nnameserver fd00::1\n", [("10.0.0.1", 53), ("fd00::1", 53, 0, 0)]),
        ("nameserver fe80::1%lo\n", [("fe80::1", 53, 0, 1)]),
        ("nameserver fe80::1%nothing\n", [("127.0.0.1", 53)]),
        ("nameserver 10.0.0.1\n" * 5, [("10.0.0.1", 53)] * 3),
    ],
)
def test_resolv_conf(text: str, servers: list[tuple[object, ...]]) -> None:
    assert nameservers(text) == servers


@pytest.mark.parametrize(
    ("target", "published", "said"),
    [
        ("80", "x", "web: port x: published 'x' is neither a port nor a range of ports"),
        ("80", "70000", "web: port 70000: published '70000' is not within 1 to 65535"),
        ("82-80", "", "web: port 82-80: target '82-80' is not within 1 to 65535"),
        ("80-82", "8080", "web: port 8080: 8080 and 80-82 are ranges of different lengths"),
        ("80-82", "8080-8081", "web: port 8080-8081: 8080-8081 and 80-82 are ranges of different lengths"),
    ],
)
def test_ports_that_make_no_sense(target: str, published: str, said: str) -> None:
    with pytest.raises(NetworkError) as caught:
        bind_listeners([Port("c", "10.0.0.2", target, published=published, owner="web")])
    assert str(caught.value) == said


def test_a_protocol_that_cannot_be_published() -> None:
    with pytest.raises(NetworkError, match="protocol sctp cannot be published"):
        bind_listeners([Port("c", "10.0.0.2", "80", protocol="sctp")])


def test_ports_of_the_model() -> None:
    port = Port.of("c", "10.0.0.2", {"mode": "ingress", "target": 80, "published": "8080", "protocol": "udp"})
    assert (port.target, port.published, port.host_ip, port.protocol) == ("80", "8080", "", "udp")
    port = Port.of("c", "10.0.0.2", {"target": 80, "host_ip": "[::1]"})
    assert (port.published, port.host_ip, port.protocol) == ("", "::1", "tcp")
