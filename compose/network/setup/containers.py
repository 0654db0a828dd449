"""Containers' network namespaces: links, addresses, routes and the name service's address, for many at once.

Three passes, because each namespace is worth entering only once:

1. each container's namespace: make, pin, settings, ``lo``, the sockets and rules of the name service; keep a
   netlink socket that stays in there;
2. each sandbox: all veth pairs in one batch, one end a port of the bridge, the other end in the container;
3. through the kept sockets: addresses and routes;

and at last each sandbox once more, to wait until its bridges forward.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import NetworkError
from compose.network import labels
from compose.network.kernel import encoded, links
from compose.network.kernel.netlink import NETFILTER, ROUTE, Message, Netlink, Template
from compose.network.setup.namespaces import Namespaces, has_ipv6, set_sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from compose.network.types import ContainerLinks, Endpoint

_FIRST_SOURCE_TABLE = 1001  # above those that have a name
_AT_ONCE = 64
"""Containers that are furnished together, with four descriptors open for each."""

_DEFAULTS = {
    "net/ipv4/ip_unprivileged_port_start": "0",  # as Docker does: user nginx may listen on 80
    "net/ipv4/ping_group_range": "0 2147483647",
}
_DEFAULTS6 = {
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/disable_ipv6": "1",  # lo, which is there already, keeps ::1
}

Sockets = tuple[int, int]
"""Descriptors of the name service in one container: UDP, then TCP (listening)."""


class _Inside:
    """A container's namespace while it is being furnished."""

    __slots__ = ("descriptor", "new", "route", "sockets")

    def __init__(self, descriptor: int, *, new: bool, route: Netlink, sockets: Sockets | None) -> None:
        self.descriptor = descriptor
        self.new = new
        self.route = route
        self.sockets = sockets

    def close(self) -> None:
        self.route.close()
        os.close(self.descriptor)


def create(namespaces: Namespaces, project: str, containers: Sequence[ContainerLinks]) -> dict[str, Sockets]:
    """Furnish the namespaces of containers; returns the sockets of those that want names.

    After an error nothing is taken back: the next call completes it, or `remove` removes it.
    """
    namespaces.prepare()
    sockets: dict[str, Sockets] = {}
    try:
        for start in range(0, len(containers), _AT_ONCE):
            sockets |= _create(namespaces, project, containers[start : start + _AT_ONCE])
    except BaseException:
        for pair in sockets.values():
            _close(pair)
        raise
    return sockets


def _create(namespaces: Namespaces, project: str, containers: Sequence[ContainerLinks]) -> dict[str, Sockets]:
    made: dict[str, _Inside] = {}
    finished = False
    try:
        try:
            for one in containers:
                made[one.id] = _furnish(namespaces, one)
        finally:
            namespaces.enter(namespaces.host)
        _link(namespaces, project, containers, made)
        try:
            for one in containers:
                _address(namespaces, one, made[one.id])
        finally:
            namespaces.enter(namespaces.host)
        _wait(namespaces, project, containers)
        finished = True
        return {identity: inside.sockets for identity, inside in made.items() if inside.sockets}
    finally:
        for inside in made.values():
            inside.close()
            if not finished:
                _close(inside.sockets or ())


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


# -- first pass: the namespace itself -------------------------------------------------------------------


def _furnish(namespaces: Namespaces, one: ContainerLinks) -> _Inside:
    try:
        descriptor, new = namespaces.ensure(namespaces.paths.container_namespace(one.id))
    except OSError as error:
        raise NetworkError(
            f"create the network namespace of container {one.id[:12]}: {error.strerror}"
        ) from error
    route = None
    try:
        if not new:
            namespaces.enter(descriptor)
        for name, value in (_DEFAULTS | _DEFAULTS6 if has_ipv6() else _DEFAULTS).items():
            set_sysctl(name, value)
        _set_sysctls(one)
        route = Netlink(ROUTE)
        route.apply([encoded.loopback_up()])
        sockets = _serve_names(one, new=new) if one.dns else None
        return _Inside(descriptor, new=new, route=route, sockets=sockets)
    except BaseException:
        os.close(descriptor)
        if route is not None:
            route.close()
        raise


def _serve_names(one: ContainerLinks, *, new: bool) -> Sockets:
    """The two sockets at a spare port of 127.0.0.11, and the rules that lead port 53 there."""
    opened = []
    try:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            server = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            opened.append(server)
            if kind == socket.SOCK_STREAM:  # whoever is bound there later, in its place, is not refused
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((encoded.NAME_SERVICE, 0))
        opened[1].listen(64)
        rules = encoded.name_rules(*(server.getsockname()[1] for server in opened), new=new)
        with Netlink(NETFILTER) as netlink:
            failures = netlink.transaction(rules)
        if failures:
            raise NetworkError(
                f"lead names of container {one.id[:12]} to us: {failures[0]}", hint="modprobe nft_nat"
            )
    except BaseException:
        for server in opened:
            server.close()
        raise
    return opened[0].detach(), opened[1].detach()


def _set_sysctls(one: ContainerLinks) -> None:
    for name, value in one.sysctls.items():
        try:
            set_sysctl(name.replace(".", "/"), value)
        except NetworkError as error:
            raise NetworkError(f"container {one.id[:12]}: sysctls: {error.message}") from error


# -- second pass: the pairs ------------------------------------------------------------------------------


class _Pair(NamedTuple):
    container: str
    endpoint: Endpoint
    inside: _Inside


def _link(
    namespaces: Namespaces, project: str, containers: Sequence[ContainerLinks], made: Mapping[str, _Inside]
) -> None:
    by_sandbox: dict[str, list[_Pair]] = {}
    for one in containers:
        for endpoint in one.endpoints:
            pair = _Pair(one.id, endpoint, made[one.id])
            by_sandbox.setdefault(endpoint.sandbox or project, []).append(pair)
    for name, pairs in by_sandbox.items():
        with namespaces.inside(namespaces.paths.project_namespace(name), f"connect to networks of {name}"):
            _make_pairs(pairs)


def _make_pairs(pairs: Sequence[_Pair]) -> None:
    shapes: dict[tuple[str, str, int, int], tuple[Template, Template]] = {}
    stale, messages = [], []
    for pair in pairs:
        name = labels.port(pair.container, pair.endpoint.network)
        there = (
            bool(links.index_of(pair.endpoint.interface, pair.inside.route.fileno()))
            if not pair.inside.new
            else False
        )
        if there and links.index_of(name):
            continue
        # a port whose other end went to a namespace that is lost, or an end that lost its port
        stale.append(name)
        messages += _pair_messages(pair, name, shapes)
    with Netlink(ROUTE) as netlink:
        present = [name for name in stale if links.index_of(name)]
        netlink.apply(links.delete_links(present))
        failures = netlink.attempt(messages)
    if failures:
        raise NetworkError(f"connect containers to their networks: {failures[0]}")


def _pair_messages(
    pair: _Pair, name: str, shapes: dict[tuple[str, str, int, int], tuple[Template, Template]]
) -> list[Message]:
    endpoint = pair.endpoint
    bridge = labels.bridge(endpoint.network)
    key = (endpoint.network, endpoint.interface, endpoint.mtu, len(pair.container))
    if key not in shapes:
        index = links.index_of(bridge)
        if not index:
            raise NetworkError(
                f"container {pair.container[:12]}: network {endpoint.network} is not there",
                hint="pycompose up",
            )
        mtu = endpoint.mtu or links.mtu_of(bridge)
        shapes[key] = encoded.shape(endpoint, index, mtu, len(pair.container))
    veth, alias = shapes[key]
    mac = endpoint.mac or labels.mac_of(endpoint.ipv4 or "0.0.0.0")
    return [
        Message(
            f"add link {name} for container {pair.container[:12]}",
            veth.fill(
                name=name.encode(),
                mac=bytes.fromhex(mac.replace(":", "")),
                namespace=pair.inside.descriptor.to_bytes(4, sys.byteorder),
            ),
        ),
        Message(f"set alias of {name}", alias.fill(name=name.encode(), container=pair.container.encode())),
    ]


# -- third pass: addresses and routes --------------------------------------------------------------------


def _address(namespaces: Namespaces, one: ContainerLinks, inside: _Inside) -> None:
    messages: list[Message] = []
    routes: list[Message] = []
    defaults = {4: False, 6: False}
    for number, endpoint in enumerate(one.endpoints):
        index = links.index_of(endpoint.interface, inside.route.fileno())
        if endpoint.ipv6 or any(":" in address for address in endpoint.link_local):
            namespaces.enter(inside.descriptor)
            set_sysctl(f"net/ipv6/conf/{endpoint.interface}/disable_ipv6", "0")
        messages.append(encoded.interface_up(endpoint.interface))
        if endpoint.ipv4:
            messages.append(encoded.ipv4_address(index, endpoint.ipv4))
        if endpoint.ipv6:
            messages.append(links.add_address(index, endpoint.ipv6))
        messages += [links.add_address(index, address) for address in endpoint.link_local]
        for version, address, gateway in (
            (4, endpoint.ipv4, endpoint.gateway),
            (6, endpoint.ipv6, endpoint.gateway6),
        ):
            if endpoint.internal or not gateway or not address:
                continue
            if not defaults[version]:
                defaults[version] = True
                routes.append(encoded.default_route(gateway))
                continue
            # what came in by another network goes out by it again: netd of another project may be waiting
            table = _FIRST_SOURCE_TABLE + number
            routes += [
                links.add_default_route(gateway, table=table),
                links.add_source_rule(address.partition("/")[0], table),
            ]
    failures = inside.route.attempt([*messages, *routes])
    if failures:
        raise NetworkError(f"configure the network of container {one.id[:12]}: {failures[0]}")
    for endpoint in one.endpoints:
        if endpoint.sysctls:
            namespaces.enter(inside.descriptor)
            for name, value in endpoint.sysctls.items():
                set_sysctl(name, value)


def _wait(namespaces: Namespaces, project: str, containers: Sequence[ContainerLinks]) -> None:
    """Wait until the bridges forward: the first packet of a container must not get lost."""
    by_sandbox: dict[str, list[str]] = {}
    for one in containers:
        for endpoint in one.endpoints:
            names = by_sandbox.setdefault(endpoint.sandbox or project, [])
            names += [labels.port(one.id, endpoint.network), labels.bridge(endpoint.network)]
    for name, names in by_sandbox.items():
        with namespaces.inside(namespaces.paths.project_namespace(name), f"connect to networks of {name}"):
            links.wait_until_up(list(dict.fromkeys(names)))


# -- removal ---------------------------------------------------------------------------------------------


def remove(
    namespaces: Namespaces, project: str, containers: Sequence[ContainerLinks], *, doomed: str = ""
) -> list[str]:
    """Delete links and let go of the namespaces; goes on past errors and returns them.

    Links of endpoints that are not named are found from inside the container's namespace, which is slower.
    The sandbox `doomed` is about to be emptied, and is passed over.
    """
    problems: list[str] = []
    by_sandbox: dict[str, list[str]] = {}
    for one in containers:
        for endpoint in one.endpoints:
            port = labels.port(one.id, endpoint.network)
            by_sandbox.setdefault(endpoint.sandbox or project, []).append(port)
    for name, ports in by_sandbox.items():
        path = namespaces.paths.project_namespace(name)
        if name != doomed and os.path.exists(path):
            problems += _delete_ports(namespaces, path, ports)
    for one in containers:
        problems += _let_go(namespaces, one)
    return problems


def _delete_ports(namespaces: Namespaces, path: str, ports: Sequence[str]) -> list[str]:
    try:
        with namespaces.inside(path, "disconnect containers"), Netlink(ROUTE) as netlink:
            return [str(failure) for failure in netlink.attempt(links.delete_links(ports))]
    except (NetworkError, OSError) as error:
        return [f"disconnect containers: {error}"]


def _cut_off() -> list[str]:
    """Delete the links of the container that the thread is in, whatever their names are."""
    with Netlink(ROUTE) as netlink:
        names = [link.name for link in links.links(netlink) if link.kind == "veth"]
        return [str(failure) for failure in netlink.attempt(links.delete_links(names))]


def _let_go(namespaces: Namespaces, one: ContainerLinks) -> list[str]:
    path = namespaces.paths.container_namespace(one.id)
    problems: list[str] = []
    try:
        if not one.endpoints:
            with namespaces.inside_if_there(path) as there:
                if there:
                    problems += _cut_off()
        namespaces.remove(path)
    except (NetworkError, OSError) as error:
        problems.append(f"remove the network namespace of container {one.id[:12]}: {error}")
    return problems
