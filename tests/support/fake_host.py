"""A host made of network namespaces, so that a test of the uplink never touches the machine's own.

    outside 203.0.113.1, 192.0.2.1 ── eth0 192.0.2.2 host        the host's default route leads outside

The test itself is "in" the host: what it forks, and network set-up first of all, takes that namespace for
the machine's. Sockets in other namespaces are made by going there and coming back.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from compose.linux.namespaces import CLONE_NEWNET, setns, unshare
from compose.network.kernel import links, nft
from compose.network.kernel.netlink import NETFILTER, ROUTE, Message, Netlink
from compose.network.kernel.pyroute import nftsocket
from compose.network.setup import foreign
from compose.network.setup.namespaces import get_sysctl, set_sysctl
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from compose.state.paths import Paths

OUTSIDE, OUTSIDE6 = "203.0.113.1", "2001:db8:9::1"
HOST = "192.0.2.2"
HOST6 = "2001:db8:2::2"
_NEXT_HOP, _NEXT_HOP6 = "192.0.2.1", "2001:db8:2::1"
_SHORT = 2.0
"""Seconds after which a packet that was dropped is taken for dropped."""


class FakeHost:
    """The namespaces; a context manager that puts the test into the host's and takes it back."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self._real = _own_namespace()
        self.outside = self.real_host = -1
        self.host = -1

    def __enter__(self) -> FakeHost:
        try:
            unshare(CLONE_NEWNET)
            self.outside = _own_namespace()
            unshare(CLONE_NEWNET)
            self.host = _own_namespace()
            self._connect()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        setns(self._real, CLONE_NEWNET)
        for descriptor in (self._real, self.outside, self.host):
            if descriptor >= 0:
                os.close(descriptor)

    def _connect(self) -> None:
        set_sysctl("net/ipv4/ip_forward", "0")
        set_sysctl("net/ipv6/conf/all/forwarding", "0")
        with Netlink(ROUTE) as netlink:
            netlink.apply(links.add_pair("eth0", "out0", self.outside, 1400))
            number = links.index_of("eth0")
            addresses = [links.add_address(number, f"{HOST}/24"), links.add_address(number, f"{HOST6}/64")]
            netlink.apply([links.set_up("lo"), *addresses])
        with self.within(self.outside), Netlink(ROUTE) as netlink:
            number = links.index_of("out0")
            addresses = [links.add_address(1, f"{OUTSIDE}/32"), links.add_address(1, f"{OUTSIDE6}/128")]
            addresses += [links.add_address(number, f"{_NEXT_HOP}/24")]
            addresses += [links.add_address(number, f"{_NEXT_HOP6}/64")]
            netlink.apply([links.set_up("lo"), links.set_up("out0"), *addresses])
        with Netlink(ROUTE) as netlink:  # by IPv6 it takes the other end
            links.wait_until_up(["eth0"])
            netlink.apply([links.add_default_route(_NEXT_HOP), links.add_default_route(_NEXT_HOP6)])

    @contextlib.contextmanager
    def within(self, where: int | str) -> Iterator[None]:
        """Go to a namespace, a descriptor or a path that pins it, and come back to the host."""
        descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC) if isinstance(where, str) else os.dup(where)
        try:
            setns(descriptor, CLONE_NEWNET)
            yield
        finally:
            setns(self.host, CLONE_NEWNET)
            os.close(descriptor)

    def container(self, identity: str) -> str:
        return self.paths.container_namespace(identity)

    def sandbox(self, project: str) -> str:
        return self.paths.project_namespace(project)

    def peer_of(
        self, client: int | str, server: int | str, address: str, port: int = 8000, patience: float = MOMENT
    ) -> str:
        """Whom a server at `address` sees when the client has connected and sent it something.

        Raises `OSError` when no connection comes about.
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.within(server):
            listener = socket.create_server((address, port), family=family)
        with listener:
            with self.within(client):
                caller = socket.socket(family)
            with caller:
                caller.settimeout(patience)
                caller.connect((address, port))
                caller.sendall(b"hello")
                listener.settimeout(patience)
                accepted, peer = listener.accept()
                with accepted:
                    accepted.settimeout(patience)
                    assert accepted.recv(16) == b"hello"
        return str(peer[0])

    def reaches(self, client: int | str, server: int | str, address: str) -> bool:
        """Whether a connection comes about, sooner or later."""
        try:
            self.peer_of(client, server, address)
        except OSError:
            return False
        return True

    def is_cut_off(self, client: int | str, server: int | str, address: str) -> bool:
        """Whether no connection comes about."""
        try:
            self.peer_of(client, server, address, patience=_SHORT)
        except OSError:
            return True
        return False

    def setting(self, name: str) -> str | None:
        return get_sysctl(name)

    def interfaces(self) -> set[str]:
        return set(links.names())

    def tables(self) -> set[str]:
        with Netlink(NETFILTER) as netlink:
            found = netlink.dump(nft.dump_tables(), nftsocket.nft_table_msg)
        return {table.get_attr("NFTA_TABLE_NAME") for table in found}

    def our_rules(self) -> list[foreign.Rule]:
        with Netlink(NETFILTER) as netlink:
            return foreign.rules_of_ours(netlink)

    def rules(self, messages: Sequence[Message]) -> None:
        """Make rules of a foreign firewall."""
        with Netlink(NETFILTER) as netlink:
            assert netlink.transaction(messages) == []


def docker_rules() -> list[Message]:
    """What Docker leaves in the forward chain: policy drop, and a chain for the user's own rules."""
    family, table = nft.IPV4, "filter"
    return [
        nft.table(family, table),
        nft.chain(family, table, "FORWARD", kind="filter", hook=nft.FORWARD, priority=0, policy=nft.DROP),
        nft.plain_chain(family, table, "DOCKER-USER"),
        nft.rule(family, table, "FORWARD", nft.counter(), [jump("DOCKER-USER")]),
    ]


def firewalld_rules() -> list[Message]:
    """A chain that lets everything through by policy, and ends in a rule that drops everything."""
    family, table = nft.INET, "firewalld"
    return [
        nft.table(family, table),
        nft.chain(family, table, "filter_FORWARD", kind="filter", hook=nft.FORWARD, priority=10),
        nft.rule(family, table, "filter_FORWARD", nft.established(), nft.verdict(nft.ACCEPT)),
        nft.rule(family, table, "filter_FORWARD", nft.counter(), nft.verdict(nft.DROP)),
    ]


def jump(chain: str) -> dict[str, Any]:
    """The expression that goes on in another chain and comes back."""
    verdict = {"attrs": [("NFTA_VERDICT_CODE", -3), ("NFTA_VERDICT_CHAIN", chain)]}
    data = {"attrs": [("NFTA_DATA_VERDICT", verdict)]}
    values = [("NFTA_IMMEDIATE_DREG", 0), ("NFTA_IMMEDIATE_DATA", data)]
    return {"attrs": [("NFTA_EXPR_NAME", "immediate"), ("NFTA_EXPR_DATA", {"attrs": values})]}


def _own_namespace() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
