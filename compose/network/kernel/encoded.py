"""Messages for containers' namespaces, encoded once and filled in for each: encoding is most of the work.

A mark stands in a template where a value will be: one that occurs nowhere else in the message.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
from typing import TYPE_CHECKING

from compose.network import labels
from compose.network.kernel import links, nft
from compose.network.kernel.netlink import Message, Template

if TYPE_CHECKING:
    from compose.network.types import Endpoint

NAME_SERVICE = "127.0.0.11"

_ENDIAN = sys.byteorder
_NAME_MARK = "v" + "\1" * 14
_MAC_MARK = "02:fe:dc:ba:98:76"
_FD_MARK = 0x7ED1C0DE
_INDEX_MARK = 0x7EC0FFEE
_ADDRESS_MARK = "203.0.113.77"

_templates: dict[str, Template] = {}


def loopback_up() -> Message:
    """Bring ``lo`` up."""
    if "lo" not in _templates:
        _templates["lo"] = Template(links.set_up("lo").data, {})
    return Message("set lo up", _templates["lo"].fill())


def name_rules(udp: int, tcp: int, *, new: bool) -> list[Message]:
    """Replace our table in a container's namespace: what leads port 53 to the ports of its name service."""
    table = labels.TABLE
    marks = {"udp": (0xA5C3, socket.IPPROTO_UDP), "tcp": (0x5C3A, socket.IPPROTO_TCP)}
    if "table" not in _templates:
        _templates["table"] = Template(nft.table(nft.IPV4, table).data, {})
        _templates["delete"] = Template(nft.delete_table(nft.IPV4, table).data, {})
        _templates["chain"] = Template(
            nft.chain(
                nft.IPV4, table, "output", kind="nat", hook=nft.OUTPUT, priority=nft.PRIORITY_DNAT
            ).data,
            {},
        )
        for key, (mark, protocol) in marks.items():
            encoded = nft.rule(
                nft.IPV4,
                table,
                "output",
                nft.daddr(NAME_SERVICE),
                nft.dport(protocol, 53),
                nft.dnat(NAME_SERVICE, mark),
            )
            _templates[key] = Template(encoded.data, {"port": mark.to_bytes(2, "big")})
    steps = ["table", "chain"] if new else ["table", "delete", "table", "chain"]
    messages = [Message(f"{step} {table}", _templates[step].fill()) for step in steps]
    for key, port in (("udp", udp), ("tcp", tcp)):
        messages.append(
            Message(f"add rule to {table} output", _templates[key].fill(port=port.to_bytes(2, "big")))
        )
    return messages


def shape(endpoint: Endpoint, bridge: int, mtu: int, id_length: int) -> tuple[Template, Template]:
    """The messages that make a pair of an endpoint's kind, and that give its port an alias.

    The first is to be filled with name, mac and namespace, the second with name and the container's id, of
    `id_length` digits.
    """
    container = "\2" * id_length
    veth, alias = links.add_pair(
        _NAME_MARK,
        endpoint.interface,
        _FD_MARK,
        mtu,
        peer_mac=_MAC_MARK,
        master=bridge,
        alias_is=labels.port_alias(container, endpoint.network),
    )
    name = _NAME_MARK.encode()
    return (
        Template(
            veth.data,
            {
                "name": name,
                "mac": bytes.fromhex(_MAC_MARK.replace(":", "")),
                "namespace": _FD_MARK.to_bytes(4, _ENDIAN),
            },
        ),
        Template(alias.data, {"name": name, "container": container.encode()}),
    )


def interface_up(name: str) -> Message:
    """Bring an interface up."""
    key = f"up {name}"
    if key not in _templates:
        _templates[key] = Template(links.set_up(name).data, {})
    return Message(f"set {name} up", _templates[key].fill())


def ipv4_address(index: int, address: str) -> Message:
    """Give an interface an address, with its prefix length."""
    text, _, length = address.partition("/")
    key = f"address {length}"
    network = ipaddress.IPv4Interface(address).network
    marks = {"address": socket.inet_aton(_ADDRESS_MARK), "index": _INDEX_MARK.to_bytes(4, sys.byteorder)}
    values = {"address": socket.inet_aton(text), "index": index.to_bytes(4, sys.byteorder)}
    if network.prefixlen < 31:
        mark = ipaddress.IPv4Interface(f"{_ADDRESS_MARK}/{length}").network.broadcast_address
        marks["broadcast"], values["broadcast"] = mark.packed, network.broadcast_address.packed
    if key not in _templates:
        _templates[key] = Template(links.add_address(_INDEX_MARK, f"{_ADDRESS_MARK}/{length}").data, marks)
    return Message(f"add address {address}", _templates[key].fill(**values), (errno.EEXIST,))


def default_route(gateway: str) -> Message:
    """Send everything to `gateway`; where something is sent elsewhere already, that stays."""
    if ":" in gateway:
        return links.add_default_route(gateway)
    if "route" not in _templates:
        encoded = links.add_default_route(_ADDRESS_MARK)
        _templates["route"] = Template(encoded.data, {"gateway": socket.inet_aton(_ADDRESS_MARK)})
    data = _templates["route"].fill(gateway=socket.inet_aton(gateway))
    return Message(f"add default route by {gateway}", data, (errno.EEXIST,))
