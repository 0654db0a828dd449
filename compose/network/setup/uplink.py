"""The way out of a sandbox, and everything that we change on the host for it.

    host                                               sandbox
    pc-HHHHHHHH 10.199.x.y/30  ----- veth pair -----   uplink 10.199.x.(y+1)/30, default route

    table ip pc-HHHHHHHH      masquerade what comes from the sandbox's address and leaves elsewhere;
                              drop what goes to another project's uplink
    conf/INTERFACE/forwarding of pc-HHHHHHHH, and of the interfaces with a default route where it was off
    foreign chains            two rules in each that drops what is forwarded (foreign.py)

All but the forwarding of the host's own interfaces goes with the project. That is common to all projects:
its former value is recorded before it is changed (record.py), and put back by the last `destroy`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import ipaddress
import os

from compose.errors import NetworkError
from compose.network import labels
from compose.network.addresses import read_routes
from compose.network.kernel import links, nft
from compose.network.kernel.netlink import NETFILTER, ROUTE, Netlink
from compose.network.setup import foreign
from compose.network.setup.masquerade import make_table
from compose.network.setup.namespaces import Namespaces, has_ipv6, set_sysctl
from compose.network.setup.record import Record
from compose.network.types import Uplink
from compose.state.files import replace_json

POOLS = ("10.199.0.0/16", "172.31.128.0/17", "192.168.192.0/18")
"""Where the pairs of addresses come from, a /30 each, around the host's routes."""
DEFAULT_MTU = 1500
_PREFIX = 30


def name_of(namespaces: Namespaces, project: str) -> str:
    """The host's end, and the table that belongs to it."""
    return labels.uplink(namespaces.paths.host_name(project))


def alias_of(namespaces: Namespaces, project: str) -> str:
    """What the host's end is marked with: the project, and the directory that it belongs to."""
    return f"{labels.uplink_alias(project)} {namespaces.paths.run}"


def host_mtu() -> int:
    """The MTU of the interface with the default route, in the namespace that the thread is in."""
    routes = read_routes()
    mtu = min(
        (links.mtu_of(route.interface) or DEFAULT_MTU for route in routes if route.is_default),
        default=DEFAULT_MTU,
    )
    return max(mtu, 576)


def create(namespaces: Namespaces, project: str) -> Uplink:
    """Make or complete the uplink of a sandbox that is there. The thread is in the host's namespace."""
    record = Record(namespaces)
    name, mtu = name_of(namespaces, project), host_mtu()
    entry = record.projects.get(project) or {}
    known = bool(entry)
    with Netlink(ROUTE) as netlink:
        _refuse_stranger(namespaces, netlink, project)
        if not entry:
            netlink.apply([links.delete_link(name)])  # of a lost record; its addresses are not known to us
            host, inside = _choose_pair(namespaces.paths.host_name(project), record)
            entry = {"interface": name, "host": host, "inside": inside, "prefix": _PREFIX, "chains": []}
            record.projects[project] = entry
            record.save()
        host, inside = entry["host"], entry["inside"]
        _make_pair(namespaces, netlink, project, mtu)
        netlink.apply(
            [
                links.set_up(name),
                links.set_alias(name, alias_of(namespaces, project)),
                links.add_address(links.index_of(name), f"{host}/{_PREFIX}"),
            ]
        )
    _configure_inside(namespaces, project, host, inside)
    make_table(nft.IPV4, name, inside, known=known)
    _forward(record, name)
    entry["chains"] = [str(chain) for chain in foreign.open_for(name)]
    record.save()
    links.wait_until_up([name])
    directory = namespaces.paths.project_run(project)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    replace_json(f"{directory}/uplink.json", {"host": host, "inside": inside}, durable=False)
    return Uplink(name, host, inside, _PREFIX, mtu, _warnings(name))


def _refuse_stranger(namespaces: Namespaces, netlink: Netlink, project: str) -> None:
    """A project of another run directory that bears the same name: its link must not be taken away."""
    name, ours = name_of(namespaces, project), alias_of(namespaces, project)
    if not links.index_of(name):
        return
    for link in links.links(netlink):
        if link.name == name and link.alias and link.alias != ours:
            raise NetworkError(
                f"project {project} is already up on this host ({link.alias.split(' ')[-1]})",
                hint="give this one another name: --project-name NAME",
            )


def _choose_pair(host_name: str, record: Record) -> tuple[str, str]:
    """A free /30; where the search begins depends on the project, so that its addresses tend to stay."""
    taken = [route.network for route in read_routes() if not route.is_default]
    taken += [
        ipaddress.ip_network(f"{entry['host']}/{_PREFIX}", strict=False)  # type: ignore[misc]
        for entry in record.projects.values()
    ]
    start = int.from_bytes(hashlib.sha256(host_name.encode()).digest()[:4], "big")
    for text in POOLS:
        pool = ipaddress.IPv4Network(text)
        if any(other.prefixlen <= pool.prefixlen and other.overlaps(pool) for other in taken):
            continue
        count = pool.num_addresses // 4
        for offset in range(count):
            first = int(pool.network_address) + 4 * ((start + offset) % count)
            pair = ipaddress.IPv4Network((first, _PREFIX))
            if not any(pair.overlaps(other) for other in taken):
                return str(pair[1]), str(pair[2])
    raise NetworkError(f"project {host_name}: no addresses are left for its uplink in {', '.join(POOLS)}")


def _make_pair(namespaces: Namespaces, netlink: Netlink, project: str, mtu: int) -> None:
    """The veth pair; one whose other end is not in the sandbox (a lost one's) is replaced."""
    name = name_of(namespaces, project)
    with namespaces.inside(namespaces.paths.project_namespace(project), f"connect {project}"):
        whole = bool(links.index_of(labels.INSIDE))
    if whole and links.index_of(name):
        return
    descriptor = namespaces.open(namespaces.paths.project_namespace(project))
    assert descriptor is not None
    try:
        netlink.apply([links.delete_link(name)])
        netlink.apply(links.add_pair(name, labels.INSIDE, descriptor, mtu))
    finally:
        os.close(descriptor)
    if has_ipv6():
        set_sysctl(f"net/ipv6/conf/{name}/accept_ra", "0")


def _configure_inside(namespaces: Namespaces, project: str, host: str, inside: str) -> None:
    path = namespaces.paths.project_namespace(project)
    with namespaces.inside(path, f"connect {project}"), Netlink(ROUTE) as netlink:
        index = links.index_of(labels.INSIDE)
        netlink.apply(
            [
                links.set_up(labels.INSIDE),
                links.add_address(index, f"{inside}/{_PREFIX}"),
                links.add_default_route(host),
            ]
        )


def _forward(record: Record, name: str) -> None:
    """Forwarding is decided by the interface that a packet comes in by: ours, and the outer ones."""
    set_sysctl(f"net/ipv4/conf/{name}/forwarding", "1")
    for interface in dict.fromkeys(route.interface for route in read_routes() if route.is_default):
        record.change(f"net/ipv4/conf/{interface}/forwarding")


def _warnings(name: str) -> list[str]:
    if not foreign.legacy_tables():
        return []
    return [
        f"old iptables rules are in force, which pycompose cannot read; if containers reach nothing: "
        f"iptables-legacy -I FORWARD -i {name} -j ACCEPT; iptables-legacy -I FORWARD -o {name} -j ACCEPT"
    ]


def destroy(namespaces: Namespaces, project: str) -> list[str]:
    """Undo `create`; goes on past errors and returns them. The last one puts former values back."""
    record = Record(namespaces)
    name = name_of(namespaces, project)
    problems: list[str] = []
    with Netlink(ROUTE) as netlink:
        try:
            _refuse_stranger(namespaces, netlink, project)
        except NetworkError:  # a link of somebody else, who has the rules of that name as well
            mine = False
        else:
            mine = True
            problems += [str(failure) for failure in netlink.attempt([links.delete_link(name)])]
    if mine:
        problems += foreign.close_for(name)
        with Netlink(NETFILTER) as rules:
            for family in (nft.IPV4, nft.IPV6):
                failures = rules.transaction([nft.delete_table(family, name)])
                problems += [str(failure) for failure in failures if failure.number != errno.ENOENT]
    record.projects.pop(project, None)
    if not record.projects:
        problems += record.restore()
    record.save()
    directory = namespaces.paths.project_run(project)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{directory}/uplink.json")
    with contextlib.suppress(OSError):  # the keeper's, where it is not empty
        os.rmdir(directory)
    return [f"remove the uplink of {project}: {problem}" for problem in problems]
