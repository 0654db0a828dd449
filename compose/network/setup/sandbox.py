"""A project's own network namespace: bridges, and the rules between them.

    bridge br-...  <- one a compose network, with the gateway's address
    uplink         <- the way out (uplink.py)
    table inet pycompose
        allowed        pairs of interfaces between which new connections may be forwarded:
                       a bridge and itself, and, unless internal, a bridge and the uplink
        forward        drop what is neither answer nor allowed: so bridges cannot reach each other, and
                       nothing comes in from the host or beyond it
        prerouting     packets for a transparent socket of netd get mark 1 ...
        postrouting    masquerade what leaves by the uplink
    table 100          ... and mark 1 is delivered here: that is how answers to a connection that netd
                       opened with the client's own address come back to it

All of it can be made again over what is there; one batch of rules replaces the rules of all chains at once
and leaves the set alone.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from compose.errors import NetworkError
from compose.network import labels
from compose.network.kernel import links, nft
from compose.network.kernel.netlink import NETFILTER, ROUTE, Failure, Message, Netlink
from compose.network.setup.namespaces import Namespaces, get_sysctl, has_ipv6, set_sysctl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.network.types import NetworkSpec

TRANSPARENT_MARK = 1
TRANSPARENT_TABLE = 100
_AT_ONCE = 64
"""Elements of a set that are deleted in one batch: the answers to more do not fit into a socket's queue."""
_MOST_NAMED = 3
_ALLOWED = "allowed"
_VERSION = "version-1"
"""An empty chain that tells which rules are there; to be counted up with every change of `_rules`."""
_FAMILY = nft.INET

_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/rp_filter": "0",  # answers of a container on two networks may come by the other one
    "net/ipv4/conf/default/rp_filter": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/send_redirects": "0",
}
_SYSCTLS6 = {
    "net/ipv6/conf/all/forwarding": "1",
    "net/ipv6/conf/all/accept_ra": "0",  # CVE-2020-13401: a container could make itself the router
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/disable_ipv6": "1",
}
_BRIDGE_FILTERS = (
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-arptables",
)


def create(namespaces: Namespaces, project: str) -> None:
    """Make or complete the sandbox; its uplink comes after it."""
    namespaces.prepare()
    path = namespaces.paths.project_namespace(project)
    descriptor, new = namespaces.ensure(path)
    try:
        if not new:
            namespaces.enter(descriptor)
        _configure(new=new)
    finally:
        namespaces.enter(namespaces.host)
        os.close(descriptor)


def _configure(*, new: bool) -> None:
    for name, value in _SYSCTLS.items():
        set_sysctl(name, value)
    if has_ipv6():
        for name, value in _SYSCTLS6.items():
            set_sysctl(name, value)
    for name in _BRIDGE_FILTERS:  # frames between two containers are no business of the rules below
        if get_sysctl(name) == "1":
            set_sysctl(name, "0")
    loopback = 1
    messages = [links.set_up("lo")]
    for family in (socket.AF_INET, socket.AF_INET6) if has_ipv6() else (socket.AF_INET,):
        messages += [
            links.add_local_route(family, loopback, TRANSPARENT_TABLE),
            links.add_mark_rule(family, TRANSPARENT_MARK, TRANSPARENT_TABLE),
        ]
    with Netlink(ROUTE) as netlink:
        netlink.apply(messages)
    with Netlink(NETFILTER) as netlink:
        # they come into being in one batch, so where the mark of this version is, all are
        if not new and netlink.exists(nft.get_chain(_FAMILY, labels.TABLE, _VERSION)):
            return
        failures = netlink.transaction(_rules())
    if failures:
        raise NetworkError(f"make the sandbox's rules: {failures[0]}", hint="modprobe nf_tables")


def _rules() -> list[Message]:
    table = labels.TABLE
    return [
        nft.table(_FAMILY, table),
        nft.plain_chain(_FAMILY, table, _VERSION),
        nft.interface_pair_set(_FAMILY, table, _ALLOWED),
        nft.chain(
            _FAMILY,
            table,
            "forward",
            kind="filter",
            hook=nft.FORWARD,
            priority=nft.PRIORITY_FILTER,
            policy=nft.DROP,
        ),
        nft.chain(
            _FAMILY, table, "prerouting", kind="filter", hook=nft.PREROUTING, priority=nft.PRIORITY_MANGLE
        ),
        nft.chain(
            _FAMILY, table, "postrouting", kind="nat", hook=nft.POSTROUTING, priority=nft.PRIORITY_SNAT
        ),
        *(nft.flush_chain(_FAMILY, table, name) for name in ("forward", "prerouting", "postrouting")),
        nft.rule(_FAMILY, table, "forward", nft.established(), nft.verdict(nft.ACCEPT)),
        nft.rule(_FAMILY, table, "forward", nft.interfaces_in(_ALLOWED), nft.verdict(nft.ACCEPT)),
        nft.rule(_FAMILY, table, "prerouting", nft.transparent_socket(), nft.set_mark(TRANSPARENT_MARK)),
        nft.rule(_FAMILY, table, "postrouting", nft.oifname(labels.INSIDE), nft.masquerade()),
    ]


def create_networks(namespaces: Namespaces, specs: Sequence[NetworkSpec], default_mtu: int) -> None:
    """Make or complete the bridges of networks, whose sandboxes are there."""
    for sandbox in dict.fromkeys(spec.sandbox for spec in specs):
        ours = [spec for spec in specs if spec.sandbox == sandbox]
        names = ", ".join(spec.name for spec in ours)
        with namespaces.inside(namespaces.paths.project_namespace(sandbox), f"create network {names}"):
            _create_bridges(ours, default_mtu)


def _create_bridges(specs: Sequence[NetworkSpec], default_mtu: int) -> None:
    with Netlink(ROUTE) as netlink:
        for spec in specs:
            name = labels.bridge(spec.id)
            messages = [
                links.add_bridge(name, labels.mac_of(spec.gateway or "0.0.0.0"), spec.mtu or default_mtu),
                links.set_alias(name, labels.bridge_alias(spec.id)),
                links.set_up(name),
            ]
            _raise(spec, netlink.attempt(messages))
            if spec.subnet6:
                set_sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "0")
            index = links.index_of(name)
            addresses = [
                links.add_address(index, f"{gateway}/{subnet.partition('/')[2]}")
                for gateway, subnet in ((spec.gateway, spec.subnet), (spec.gateway6, spec.subnet6))
                if gateway and subnet
            ]
            _raise(spec, netlink.attempt(addresses))
    with Netlink(NETFILTER) as netlink:
        pairs = [pair for spec in specs for pair in _pairs(spec.id, internal=spec.internal)]
        _raise(specs[0], netlink.transaction([nft.add_pairs(_FAMILY, labels.TABLE, _ALLOWED, pairs)]))


def _pairs(network: str, *, internal: bool) -> list[tuple[str, str]]:
    bridge = labels.bridge(network)
    return [(bridge, bridge)] if internal else [(bridge, bridge), (bridge, labels.INSIDE)]


def _raise(spec: NetworkSpec, failures: Sequence[Failure]) -> None:
    if failures:
        raise NetworkError(f"create network {spec.name}: {failures[0]}")


def remove_networks(namespaces: Namespaces, specs: Sequence[NetworkSpec]) -> list[str]:
    """Delete the bridges of networks; goes on past errors and returns them."""
    problems: list[str] = []
    for sandbox in dict.fromkeys(spec.sandbox for spec in specs):
        path = namespaces.paths.project_namespace(sandbox)
        ours = [spec for spec in specs if spec.sandbox == sandbox]
        names = ", ".join(spec.name for spec in ours[:_MOST_NAMED]) + ", ..." * (len(ours) > _MOST_NAMED)
        try:
            with namespaces.inside_if_there(path) as there:
                if there:
                    problems += _remove_bridges(ours)
        except (NetworkError, OSError) as error:
            problems.append(f"remove network {names}: {error}")
    return problems


def _remove_bridges(specs: Sequence[NetworkSpec]) -> list[str]:
    failures: list[Failure] = []
    pairs = [pair for spec in specs for pair in _pairs(spec.id, internal=False)]
    deletions = [nft.delete_pairs(_FAMILY, labels.TABLE, _ALLOWED, [pair]) for pair in pairs]
    with Netlink(NETFILTER) as netlink:
        for start in range(0, len(deletions), _AT_ONCE):
            some = deletions[start : start + _AT_ONCE]
            if netlink.transaction(some):  # where one is not there none is deleted
                for deletion in some:
                    failures += [one for one in netlink.transaction([deletion]) if one.number != errno.ENOENT]
    with Netlink(ROUTE) as netlink:
        failures += netlink.attempt(links.delete_links([labels.bridge(spec.id) for spec in specs]))
    return [f"remove network {specs[0].name}: {failure}" for failure in failures]


def remove(namespaces: Namespaces, project: str) -> list[str]:
    """Delete every link in the sandbox and let go of it; goes on past errors and returns them."""
    path = namespaces.paths.project_namespace(project)
    problems: list[str] = []
    try:
        with namespaces.inside_if_there(path) as there:
            if there:
                problems += empty()
        namespaces.remove(path)
    except (NetworkError, OSError) as error:
        problems.append(f"remove the network sandbox of {project}: {error}")
    return problems


def empty() -> list[str]:
    """Delete every link of the sandbox that the thread is in: somebody else may keep it alive."""
    names = [name for name in links.names() if name == labels.INSIDE or labels.is_ours(name)]
    with Netlink(ROUTE) as netlink:
        return [str(failure) for failure in netlink.attempt(links.delete_links(names))]
