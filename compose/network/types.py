"""The words in which the engine asks for networks: plain values that travel between processes as JSON would.

Addresses carry their prefix length where they configure an interface (``10.1.2.3/24``) and stand alone where
they name a neighbour (``10.1.2.1``). An empty string means "none", or the default that is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from compose.runtime import spec

SHARED = "_shared"
"""The sandbox of networks that no project owns; no project can have this name."""


class NetworkSpec(NamedTuple):
    """One compose network: a bridge in a sandbox."""

    id: str
    name: str
    """What the user calls it, for messages."""
    sandbox: str
    """The project in whose namespace the bridge lives, or `SHARED`."""
    subnet: str
    """``10.1.2.0/24``."""
    gateway: str
    """The bridge's own address without prefix length, ``10.1.2.1``."""
    subnet6: str = ""
    """IPv6 subnet; empty: the network carries no IPv6."""
    gateway6: str = ""
    internal: bool = False
    """No way out of the sandbox, and none between its bridges in any case."""
    mtu: int = 0
    """0: that of the host's default route."""


class Endpoint(NamedTuple):
    """One interface of a container; the fields of ``runtime.spec.Endpoint`` and where its network lives.

    The first endpoint that is not internal and has a gateway gives the container its default route.
    """

    network: str
    """The id of the network; `NetworkSpec` of that id has been created before."""
    interface: str
    """``eth0``."""
    ipv4: str
    """Address with prefix length; empty: none."""
    gateway: str = ""
    mac: str = ""
    """Empty: made from the IPv4 address, as Docker does, so that it stays with the address."""
    names: Sequence[str] = ()
    internal: bool = False
    ipv6: str = ""
    """Address with prefix length; empty: IPv6 is off on this interface."""
    gateway6: str = ""
    sandbox: str = ""
    """The sandbox that holds the network's bridge; empty: that of the project which asks."""
    mtu: int = 0
    """0: that of the bridge."""
    link_local: Sequence[str] = ()
    """More addresses, with prefix lengths."""
    sysctls: Mapping[str, str] = {}
    """Settings of the interface, by their paths below /proc/sys; written when it is up."""

    @classmethod
    def of(cls, value: Endpoint | spec.Endpoint | Mapping[str, Any]) -> Endpoint:
        """The same from a dictionary as ``spec.json`` holds it; keys that we do not know are left out."""
        if isinstance(value, Endpoint):
            return value
        known = {key: given for key, given in value.items() if key in cls._fields}
        return cls(**{"interface": "eth0", "ipv4": "", **known})  # type: ignore[arg-type]


class ContainerLinks(NamedTuple):
    """What one container needs: its namespace, the interfaces in it, and whether names are served there."""

    id: str
    endpoints: Sequence[Endpoint]
    dns: bool = True
    """Make the two sockets of the name service, and lead 127.0.0.11:53 to them."""
    sysctls: Mapping[str, str] = {}
    """``net.core.somaxconn: 1024``; only ``net.*``, written before any interface is there."""


class Uplink(NamedTuple):
    """How a sandbox reaches the outside: a pair of addresses. Also in ``project_run/uplink.json``."""

    interface: str
    """The host's end; the other end is called ``uplink``."""
    host: str
    """The host's address, what ``host.docker.internal`` means."""
    inside: str
    """The sandbox's address; everything from there appears with it on the host."""
    prefix: int
    mtu: int
    warnings: Sequence[str] = ()
    """What may keep containers from reaching out although everything was made; one line each."""


class Leftover(NamedTuple):
    """Something that has our name and that nobody owns."""

    kind: str
    """``namespace``, ``interface``, ``table`` or ``rule``."""
    name: str
    where: str
    """Sandbox, or empty for the host."""
