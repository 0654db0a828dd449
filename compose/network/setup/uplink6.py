"""IPv6 by the uplink, for networks that have it: a private pair of addresses, masqueraded like IPv4.

Made when the first such network is. The host's own forwarding is one switch for all interfaces and changes
how the host takes router advertisements, so it is never touched: where it is off, the kernel's
``force_forwarding`` of single interfaces (6.17) is used, and before that there is no way out by IPv6, which
is said as a warning.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING

from compose.network import labels
from compose.network.kernel import links, nft
from compose.network.kernel.netlink import ROUTE, Netlink
from compose.network.setup import foreign
from compose.network.setup.masquerade import make_table
from compose.network.setup.namespaces import get_sysctl, has_ipv6, set_sysctl

if TYPE_CHECKING:
    from compose.network.setup.namespaces import Namespaces
    from compose.network.setup.record import Record

_PREFIX = 126
_RTF_GATEWAY = 0x2


def pair(host_name: str) -> tuple[str, str]:
    """The host's address and the sandbox's, out of a unique local network that belongs to the project."""
    digest = hashlib.sha256(f"uplink {host_name}".encode("utf-8", "surrogateescape")).digest()
    network = ipaddress.IPv6Network((b"\xfd" + digest[:7] + bytes(8), _PREFIX))
    return str(network[1]), str(network[2])


def default_interfaces(text: str) -> list[str]:
    """The interfaces with a default route in the text of ``/proc/net/ipv6_route``."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) == 10 and fields[1] == "00" and int(fields[8], 16) & _RTF_GATEWAY:
            found.append(fields[9])
    return list(dict.fromkeys(found))


def create(namespaces: Namespaces, project: str, record: Record) -> list[str]:
    """Make or complete it, in an uplink that is there; returns warnings."""
    host_name = namespaces.paths.host_name(project)
    name = labels.uplink(host_name)
    if not has_ipv6() or not links.index_of(name):
        return []
    host, inside = pair(host_name)
    set_sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "0")
    with Netlink(ROUTE) as netlink:
        netlink.apply([links.add_address(links.index_of(name), f"{host}/{_PREFIX}")])
    path = namespaces.paths.project_namespace(project)
    with namespaces.inside(path, f"connect {project}"), Netlink(ROUTE) as netlink:
        set_sysctl(f"net/ipv6/conf/{labels.INSIDE}/disable_ipv6", "0")
        netlink.apply([links.add_address(links.index_of(labels.INSIDE), f"{inside}/{_PREFIX}")])
        netlink.apply([links.add_default_route(host)])
    make_table(nft.IPV6, name, inside, known=True)
    foreign.open_for(name, ipv6=True)
    return _forward(record, name)


def _forward(record: Record, name: str) -> list[str]:
    if get_sysctl("net/ipv6/conf/all/forwarding") == "1":
        return []
    with open("/proc/thread-self/net/ipv6_route") as file:
        outer = default_interfaces(file.read())
    if not outer:
        return []
    if get_sysctl(f"net/ipv6/conf/{name}/force_forwarding") is None:
        return ["containers reach nothing outside by IPv6: the host does not forward it "
                "(sysctl -w net.ipv6.conf.all.forwarding=1)"]  # fmt: skip
    set_sysctl(f"net/ipv6/conf/{name}/force_forwarding", "1")
    for interface in outer:
        record.change(f"net/ipv6/conf/{interface}/force_forwarding")
    return []
