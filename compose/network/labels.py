"""Names of interfaces, tables and aliases, all derived from ids, so that a sweep needs no records.

The kernel allows 15 bytes for an interface's name; the alias beside it tells in full whose it is:

    pc-HHHHHHHH        host's end of a project's uplink    "pycompose uplink PROJECT"
    uplink             its other end, in the sandbox
    br-HHHHHHHHHHHH    a network's bridge, in a sandbox    "pycompose network NETWORK"
    vHHHHHHHHHHHHHH    a container's end, in a sandbox     "pycompose container CONTAINER NETWORK"

H are the first hexadecimal digits of a SHA-256 of the id, a project's being `Paths.host_name`. The host's
table of rules is called as the uplink.
"""

from __future__ import annotations

import hashlib

PREFIX = "pycompose"
UPLINK_PREFIX = "pc-"
INSIDE = "uplink"
"""The uplink's end in the sandbox."""
TABLE = "pycompose"
"""The table of rules in sandboxes and containers."""


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:count]


def uplink(host_name: str) -> str:
    """The host's end of a project's uplink, and the name of the table that belongs to it."""
    return UPLINK_PREFIX + _digits(host_name, 8)


def bridge(network: str) -> str:
    """The bridge of the network with that id."""
    return "br-" + _digits(network, 12)


def port(container: str, network: str) -> str:
    """The end in the sandbox of a container's link to a network."""
    return "v" + _digits(f"{container} {network}", 14)


def uplink_alias(project: str) -> str:
    return f"{PREFIX} uplink {project}"


def bridge_alias(network: str) -> str:
    return f"{PREFIX} network {network}"


def port_alias(container: str, network: str) -> str:
    return f"{PREFIX} container {container} {network}"


def is_ours(interface: str) -> bool:
    """Whether an interface of a sandbox has a name that `bridge` or `port` gives."""
    digits = interface.removeprefix("br-") if interface.startswith("br-") else interface.removeprefix("v")
    return len(interface) == 15 and digits != interface and not digits.strip("0123456789abcdef")


def mac_of(ipv4: str) -> str:
    """The hardware address that goes with an IPv4 address, as Docker makes it: 02:42 and the four bytes."""
    numbers = [int(part) for part in ipv4.partition("/")[0].split(".")]
    return "02:42:" + ":".join(f"{number:02x}" for number in numbers)
