"""Interfaces and firewall rules, read from the kernel without any program.

A reader of dumps, just big enough to name what a test left behind. The code under test uses a real netlink
library; a check that shared it could share its mistakes.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_GETLINK, RTM_GETNSID = 18, 90
NFNL_SUBSYS_NFTABLES = 10 << 8
NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE = 1, 4, 7
RTMGRP_LINK, NFNLGRP_NFTABLES = 1, 7


class Link(NamedTuple):
    """A network interface of the host."""

    name: str
    number: int
    alias: str
    peer_namespace: int
    """The number by which the kernel knows the namespace of the other end; -1 without one."""


class FirewallObject(NamedTuple):
    """A table, chain or rule."""

    kind: str
    family: int
    table: str
    chain: str
    handle: int
    interfaces: tuple[str, ...]
    """Names of interfaces of ours that the rule compares with."""


def events() -> list[socket.socket]:
    """Sockets that become readable when an interface or a firewall rule changes."""
    links = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_ROUTE)
    links.bind((0, RTMGRP_LINK))
    rules = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER)
    rules.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
    return [links, rules]


def _request(protocol: int, kind: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """Send one request, yield the type and payload of each answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as netlink:
        netlink.settimeout(MOMENT)
        header = struct.pack("=IHHII", 16 + len(body), kind, flags | NLM_F_REQUEST, 1, 0)
        netlink.sendto(header + body, (0, 0))
        while True:
            data = netlink.recv(1 << 20)
            while data:
                length, answer, _, _, _ = struct.unpack_from("=IHHII", data)
                payload = data[16:length]
                data = data[(length + 3) & ~3 :]
                if answer == NLMSG_DONE:
                    return
                if answer == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", payload)[0]
                    if number:
                        raise OSError(number, "netlink request failed")
                    return
                yield answer, payload
                if not flags & NLM_F_DUMP:
                    return


def _attributes(data: bytes) -> dict[int, bytes]:
    """The top level of a message's attributes, by number."""
    found = {}
    while len(data) >= 4:
        length, number = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[number & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _text(value: bytes | None) -> str:
    return (value or b"").split(b"\0", 1)[0].decode("utf-8", "replace")


def links() -> list[Link]:
    """Every interface of the caller's network namespace."""
    found = []
    for _, payload in _request(NETLINK_ROUTE, RTM_GETLINK, NLM_F_DUMP, struct.pack("=BxHiII", 0, 0, 0, 0, 0)):
        number = struct.unpack_from("=i", payload, 4)[0]
        attributes = _attributes(payload[16:])
        peer = struct.unpack("=i", attributes[37])[0] if 37 in attributes else -1  # IFLA_LINK_NETNSID
        found.append(Link(_text(attributes.get(3)), number, _text(attributes.get(20)), peer))
    return found


def namespace_number(descriptor: int) -> int:
    """The number by which the caller's namespace knows the one of `descriptor`; -1 when it knows none."""
    body = struct.pack("=B3xHHi", 0, 8, 3, descriptor)  # NETNSA_FD
    for _, payload in _request(NETLINK_ROUTE, RTM_GETNSID, 0, body):
        attributes = _attributes(payload[4:])
        return int(struct.unpack("=i", attributes[1])[0])
    return -1


def firewall(interface_prefix: bytes) -> list[FirewallObject]:
    """Every nftables table, chain and rule of the host; counters are no part of an object."""
    found = []
    kinds = {"table": (NFT_MSG_GETTABLE, 4), "chain": (NFT_MSG_GETCHAIN, 2), "rule": (NFT_MSG_GETRULE, 3)}
    for kind, (message, handle_attribute) in kinds.items():
        answers = _request(
            NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES | message, NLM_F_DUMP, struct.pack("=BBH", 0, 0, 0)
        )
        for _, payload in answers:
            attributes = _attributes(payload[4:])
            chain = {"table": None, "chain": attributes.get(3), "rule": attributes.get(2)}[kind]
            handle = int.from_bytes(attributes.get(handle_attribute, b""), "big")
            names = _names(payload, interface_prefix) if kind == "rule" else ()
            found.append(
                FirewallObject(kind, payload[0], _text(attributes.get(1)), _text(chain), handle, names)
            )
    return found


def _names(payload: bytes, prefix: bytes) -> tuple[str, ...]:
    """The interface names with `prefix` in a rule: its comparisons hold them as bytes padded with zeros."""
    found = []
    position = payload.find(prefix)
    while position >= 0:
        found.append(_text(payload[position : position + 16]))
        position = payload.find(prefix, position + 1)
    return tuple(found)
