"""Interfaces, addresses, routes and policy rules, as messages of pyroute2's classes.

Deleting an interface waits for every processor to be done with it (10 to 20 ms), so interfaces that go
together are put in one group first, and the group is deleted at once.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.network.kernel.netlink import (
    CHANGE,
    CREATE,
    DUMP,
    LINK_NOTICES,
    ROUTE,
    Message,
    Netlink,
    Template,
    message,
)
from compose.network.kernel.pyroute import fibmsg, ifaddrmsg, ifinfmsg, rtmsg

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _NEWROUTE, _NEWRULE = 20, 24, 32
_NLM_F_REQUEST = 1
_IFLA_IFNAME, _IFLA_OPERSTATE, _IF_OPER_UP, _SKIP_STATISTICS = 3, 16, 6, 8
_IFF_UP = 1
_CARRIER = 1.5
"""Seconds within which the kernel has noticed a carrier, on a machine that is not overrun."""
_RTPROT_STATIC, _RTN_UNICAST, _RTN_LOCAL, _RT_SCOPE_HOST, _FR_ACT_TO_TBL = 4, 1, 2, 254, 1
_IFA_F_NODAD = 2
_DOOMED = 0x7063
"""The group in which interfaces wait for their deletion."""
_SIOCGIFINDEX, _SIOCGIFMTU = 0x8933, 0x8921
_RT_TABLE_COMPAT = 252
MAIN_TABLE = 254


class Link(NamedTuple):
    """An interface as it is."""

    number: int
    name: str
    alias: str
    kind: str


def links(netlink: Netlink) -> list[Link]:
    """All interfaces of the namespace."""
    found = []
    for one in netlink.dump(message("list links", ifinfmsg, _GETLINK, DUMP), ifinfmsg):
        information = one.get_attr("IFLA_LINKINFO")
        kind = information.get_attr("IFLA_INFO_KIND") if information else None
        found.append(
            Link(one["index"], one.get_attr("IFLA_IFNAME"), one.get_attr("IFLA_IFALIAS") or "", kind or "")
        )
    return found


def names() -> list[str]:
    """The names of all interfaces of the thread's namespace, much quicker than `links`."""
    with open("/proc/thread-self/net/dev") as file:
        return [line.partition(":")[0].strip() for line in file.readlines()[2:]]


def index_of(name: str, descriptor: int | None = None) -> int:
    """The interface's index in the namespace of that socket, or the thread's; 0: there is none."""
    return _ask(_SIOCGIFINDEX, name, descriptor)


def mtu_of(name: str) -> int:
    """The interface's MTU in the thread's namespace; 0: there is no such interface."""
    return _ask(_SIOCGIFMTU, name, None)


def _ask(request: int, name: str, descriptor: int | None) -> int:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if descriptor is None
        else _Borrowed(descriptor) as asked
    ):
        try:
            answer = fcntl.ioctl(asked.fileno(), request, struct.pack("16si20x", name.encode(), 0))
        except OSError as error:
            if error.errno == errno.ENODEV:
                return 0
            raise
    return int(struct.unpack_from("16si", answer)[1])


class _Borrowed:
    """A descriptor that somebody else closes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> _Borrowed:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def fileno(self) -> int:
        return self._descriptor


def _link(
    what: str,
    flags: int,
    attributes: Sequence[tuple[str, Any]],
    *,
    up: bool = False,
    tolerate: tuple[int, ...] = (),
) -> Message:
    fields = {"flags": _IFF_UP, "change": _IFF_UP} if up else {}
    return message(what, ifinfmsg, _NEWLINK, flags, fields, attributes, tolerate)


def wait_until_up(wanted: Sequence[str]) -> None:
    """Wait until the kernel has noticed that interfaces of the thread's namespace have a carrier.

    It does so in a work queue, some time after the other end was brought up. Until then a bridge does not
    forward to the port, what is sent there is lost, and the sender's kernel tries again after a whole second.
    """
    end = time.monotonic() + _CARRIER
    with Netlink(ROUTE, groups=LINK_NOTICES) as notices, Netlink(ROUTE) as netlink:
        while True:
            wanted = _not_up(netlink, wanted)
            left = end - time.monotonic()
            if not wanted or left <= 0:
                return
            notices.wait_for_notice(left)


def _not_up(netlink: Netlink, wanted: Sequence[str]) -> list[str]:
    """Those of the interfaces that are there and whose operational state is another one than up."""
    attributes = [("IFLA_IFNAME", "\1" * 15), ("IFLA_EXT_MASK", _SKIP_STATISTICS)]
    asking = Template(
        message("", ifinfmsg, _GETLINK, _NLM_F_REQUEST, {}, attributes).data, {"name": b"\1" * 15}
    )
    requests = [Message(f"get {name}", asking.fill(name=name.encode().ljust(15, b"\0"))) for name in wanted]
    found = []
    for body in netlink.answers(requests):
        name, state, offset = "", 0, 16
        while offset + 4 <= len(body):
            length, kind = struct.unpack_from("=HH", body, offset)
            if length < 4:
                break
            if kind == _IFLA_IFNAME:
                name = body[offset + 4 : offset + length].rstrip(b"\0").decode()
            elif kind == _IFLA_OPERSTATE:
                state = body[offset + 4]
            offset += (length + 3) & ~3
        if state != _IF_OPER_UP:
            found.append(name)
    return found


def add_bridge(name: str, mac: str, mtu: int) -> Message:
    """A bridge that forwards at once, and is up. EEXIST when the name is taken."""
    # the hardware address is given: left alone, it would change with the ports
    data = {"attrs": [("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_STP_STATE", 0), ("IFLA_BR_MCAST_SNOOPING", 0)]}
    information = {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", data)]}
    attributes = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", information),
    ]
    return _link(f"add bridge {name}", CREATE, attributes, up=True, tolerate=(errno.EEXIST,))


def add_pair(
    name: str, peer: str, namespace: int, mtu: int, *, peer_mac: str = "", master: int = 0, alias_is: str = ""
) -> list[Message]:
    """A veth pair: `name` here, up and a port of `master`; `peer` in the namespace of that descriptor, down.

    The peer cannot be brought up by the same message: it has no partner yet when the kernel looks at that.
    """
    # one queue: the default is one for each processor, which costs memory and gives a veth nothing
    queues: list[tuple[str, Any]] = [("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1), ("IFLA_MTU", mtu)]
    inner = [("IFLA_IFNAME", peer), *queues, ("IFLA_NET_NS_FD", namespace)]
    if peer_mac:
        inner.append(("IFLA_ADDRESS", peer_mac))
    data = {"attrs": [("VETH_INFO_PEER", {"attrs": inner})]}
    attributes: list[tuple[str, Any]] = [("IFLA_IFNAME", name), *queues]
    if master:
        attributes.append(("IFLA_MASTER", master))
    attributes.append(("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}))
    made = [_link(f"add link {name}", CREATE, attributes, up=True)]
    if alias_is:
        made.append(set_alias(name, alias_is))
    return made


def set_alias(name: str, alias: str) -> Message:
    return _link(f"set alias of {name}", CHANGE, [("IFLA_IFNAME", name), ("IFLA_IFALIAS", alias)])


def set_up(name: str) -> Message:
    return _link(f"set {name} up", CHANGE, [("IFLA_IFNAME", name)], up=True)


def delete_links(names: Sequence[str]) -> list[Message]:
    """Delete interfaces together; those that are not there are passed over."""
    if not names:
        return []
    doomed = Template(
        _link("", CHANGE, [("IFLA_IFNAME", "\1" * 15), ("IFLA_GROUP", _DOOMED)]).data, {"name": b"\1" * 15}
    )
    gone = (errno.ENODEV,)
    marked = [
        Message(f"delete link {name}", doomed.fill(name=name.encode().ljust(15, b"\0")), gone)
        for name in names
    ]
    last = message("delete links", ifinfmsg, _DELLINK, CHANGE, {}, [("IFLA_GROUP", _DOOMED)], gone)
    return [*marked, last]


def delete_link(name: str) -> Message:
    """Delete one interface; none of that name is no error."""
    return message(
        f"delete link {name}", ifinfmsg, _DELLINK, CHANGE, {}, [("IFLA_IFNAME", name)], (errno.ENODEV,)
    )


def add_address(index: int, address: str) -> Message:
    """Give an interface ``10.1.2.3/24``, or an IPv6 address that is usable at once."""
    interface = ipaddress.ip_interface(address)
    text = str(interface.ip)
    if interface.version == 4:
        fields = {"family": socket.AF_INET, "prefixlen": interface.network.prefixlen, "index": index}
        attributes: list[tuple[str, Any]] = [("IFA_LOCAL", text), ("IFA_ADDRESS", text)]
        if interface.network.prefixlen < 31:
            attributes.append(("IFA_BROADCAST", str(interface.network.broadcast_address)))
    else:
        fields = {
            "family": socket.AF_INET6,
            "prefixlen": interface.network.prefixlen,
            "index": index,
            "flags": _IFA_F_NODAD,
        }
        attributes = [("IFA_ADDRESS", text)]
    return message(f"add address {address}", ifaddrmsg, _NEWADDR, CREATE, fields, attributes, (errno.EEXIST,))


def add_default_route(gateway: str, *, table: int = MAIN_TABLE) -> Message:
    """The way out; the kernel finds the interface by the gateway's own network."""
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    fields = {"family": family, "table": _short(table), "proto": _RTPROT_STATIC, "type": _RTN_UNICAST}
    return message(
        f"add default route by {gateway}",
        rtmsg,
        _NEWROUTE,
        CREATE,
        fields,
        [("RTA_GATEWAY", gateway), ("RTA_TABLE", table)],
        (errno.EEXIST,),
    )


def _short(table: int) -> int:
    """A table's number in the header of a message, which has a byte for it; an attribute has the whole."""
    return table if table < 256 else _RT_TABLE_COMPAT


def add_local_route(family: int, index: int, table: int) -> Message:
    """Everything is local, in a table of its own: for packets that a policy rule leads there."""
    fields = {
        "family": family,
        "table": table,
        "proto": _RTPROT_STATIC,
        "type": _RTN_LOCAL,
        "scope": _RT_SCOPE_HOST,
    }
    return message("add local route", rtmsg, _NEWROUTE, CREATE, fields, [("RTA_OIF", index)], (errno.EEXIST,))


def add_mark_rule(family: int, mark: int, table: int) -> Message:
    """Packets with that mark look into `table` first."""
    fields = {"family": family, "table": table, "action": _FR_ACT_TO_TBL}
    return message(
        "add rule",
        fibmsg,
        _NEWRULE,
        CREATE,
        fields,
        [("FRA_FWMARK", mark), ("FRA_PRIORITY", 100)],
        (errno.EEXIST,),
    )


def add_source_rule(address: str, table: int) -> Message:
    """Packets from that address look into `table` first."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    fields = {
        "family": family,
        "table": _short(table),
        "action": _FR_ACT_TO_TBL,
        "src_len": 128 if ":" in address else 32,
    }
    return message(
        "add rule",
        fibmsg,
        _NEWRULE,
        CREATE,
        fields,
        [("FRA_SRC", address), ("FRA_TABLE", table), ("FRA_PRIORITY", table)],
        (errno.EEXIST,),
    )
