"""Who gets which address: decided without asking anybody, from what the caller knows.

Default subnets are /24s, handed out once a host and around the host's own routes, so that any two networks
can meet in one container; only a subnet that the compose file gives may be had twice. Within a network the
gateway is the first address, and an endpoint keeps its address by its slot (``project.service.number``) for
as long as the record of it is kept, over restarts and recreation.
"""

from __future__ import annotations

import hashlib
import ipaddress
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Network = ipaddress.IPv4Network | ipaddress.IPv6Network
    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

POOLS = ("10.200.0.0/13", "172.20.0.0/14", "172.24.0.0/14", "192.168.0.0/17")
"""Where default subnets come from, in this order."""
DEFAULT_PREFIX = 24
_RTF_UP, _RTF_REJECT = 0x1, 0x200


class Route(NamedTuple):
    """A line of the host's routing table."""

    interface: str
    network: ipaddress.IPv4Network

    @property
    def is_default(self) -> bool:
        return self.network.prefixlen == 0


class NetworkAddresses(NamedTuple):
    """The subnets of one network; empty where there is none."""

    subnet: str
    gateway: str
    ip_range: str = ""
    """Where endpoints without an address of their own get one; empty: anywhere in the subnet."""
    subnet6: str = ""
    gateway6: str = ""
    ip_range6: str = ""
    reserved: tuple[str, ...] = ()
    """Auxiliary addresses, which no endpoint gets by itself."""
    warnings: tuple[str, ...] = ()


def parse_routes(text: str) -> list[Route]:
    """The IPv4 routes in the text of ``/proc/net/route``; lines of another form are passed over."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8:
            continue
        destination, flags, mask = fields[1], int(fields[3], 16), fields[7]
        if not flags & _RTF_UP or flags & _RTF_REJECT:
            continue
        prefix = int(mask, 16).bit_count()
        address = ipaddress.IPv4Address(bytes.fromhex(destination)[::-1])
        found.append(Route(fields[0], ipaddress.IPv4Network((address, prefix), strict=False)))
    return found


def read_routes() -> list[Route]:
    """The IPv4 routes of the network namespace that the thread is in."""
    with open("/proc/thread-self/net/route") as file:
        return parse_routes(file.read())


def plan_network(
    name: str,
    *,
    ipam: Sequence[Mapping[str, Any]] = (),
    taken: Iterable[str] = (),
    routes: Iterable[Route] = (),
    ipv6: bool = False,
    identity: str = "",
) -> NetworkAddresses:
    """Choose or check the subnets of the network `name`.

    `ipam` is ``ipam.config`` of the compose file (subnet, gateway, ip_range, aux_addresses); `taken` are the
    subnets of all our networks on this host; `identity` is the network's id, from which a private IPv6 subnet
    is made when IPv6 is on and none is given.
    """
    what = f"create network {name}"
    given = [(_subnet(what, entry["subnet"]), entry) for entry in ipam if entry.get("subnet")]
    four = [(subnet, entry) for subnet, entry in given if subnet.version == 4]
    six = [(subnet, entry) for subnet, entry in given if subnet.version == 6]
    for of_family in (four, six):
        if len(of_family) > 1:
            listed = ", ".join(str(subnet) for subnet, _ in of_family)
            raise NetworkError(f"{what}: more than one subnet of a kind ({listed})")
    usable = [route for route in routes if not route.is_default]
    loose = next((entry for entry in ipam if not entry.get("subnet")), {})
    if four:
        subnet, gateway, ip_range, reserved = _explicit(what, *four[0])
        _refuse_overlap(what, four[0][0], usable)
    else:
        found = _free_subnet(what, taken, usable)
        subnet, gateway, ip_range, reserved = _explicit(what, found, loose)
    warnings = (
        ()
        if ipv6
        else tuple(
            f"network {name}: subnet {subnet6} does nothing without enable_ipv6: true" for subnet6, _ in six
        )
    )
    plan = NetworkAddresses(subnet, gateway, ip_range, reserved=reserved, warnings=warnings)
    if not ipv6:
        return plan
    chosen, entry6 = six[0] if six else (private_subnet6(identity or name), {})
    subnet6, gateway6, ip_range6, reserved6 = _explicit(what, chosen, entry6)
    return plan._replace(
        subnet6=subnet6, gateway6=gateway6, ip_range6=ip_range6, reserved=reserved + reserved6
    )


def private_subnet6(identity: str) -> ipaddress.IPv6Network:
    """A unique local /64 (RFC 4193) that is always the same for a network's id."""
    digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).digest()
    return ipaddress.IPv6Network((b"\xfd" + digest[:7] + bytes(8), 64))


def _subnet(what: str, text: str) -> Network:
    try:
        subnet = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise NetworkError(f"{what}: {text} is no subnet", hint="write it as 10.1.2.0/24") from error
    if subnet.max_prefixlen - subnet.prefixlen < 2:
        raise NetworkError(f"{what}: subnet {subnet} has no room for a gateway and a container")
    return subnet


def _explicit(what: str, subnet: Network, entry: Mapping[str, Any]) -> tuple[str, str, str, tuple[str, ...]]:
    """Subnet, gateway, range and auxiliary addresses, each checked to lie in the subnet."""
    gateway = _within(what, "gateway", entry.get("gateway"), subnet) if entry.get("gateway") else subnet[1]
    ip_range = ""
    if entry.get("ip_range"):
        limited = _subnet_or_host(what, entry["ip_range"])
        if limited.version != subnet.version or not limited.subnet_of(subnet):  # type: ignore[arg-type]
            raise NetworkError(f"{what}: ip_range {limited} is not in the subnet {subnet}")
        ip_range = str(limited)
    auxiliary = entry.get("aux_addresses") or {}
    reserved = tuple(
        str(_within(what, f"aux_addresses.{key}", value, subnet)) for key, value in auxiliary.items()
    )
    return str(subnet), str(gateway), ip_range, reserved


def _subnet_or_host(what: str, text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise NetworkError(
            f"{what}: ip_range {text} is no subnet", hint="write it as 10.1.2.128/25"
        ) from error


def _within(what: str, key: str, text: Any, subnet: Network) -> Address:
    try:
        address = ipaddress.ip_address(str(text))
    except ValueError as error:
        raise NetworkError(f"{what}: {key} {text} is no address") from error
    if address not in subnet:
        raise NetworkError(f"{what}: {key} {address} is not in the subnet {subnet}")
    return address


def _refuse_overlap(what: str, subnet: Network, routes: Iterable[Route]) -> None:
    for route in routes:
        if isinstance(subnet, ipaddress.IPv4Network) and subnet.overlaps(route.network):
            raise NetworkError(
                f"{what}: subnet {subnet} overlaps the host route {route.network} ({route.interface})",
                hint="choose another subnet in its ipam.config, or leave it out",
            )


def _free_subnet(what: str, taken: Iterable[str], routes: Iterable[Route]) -> ipaddress.IPv4Network:
    used = [
        network for network in map(ipaddress.ip_network, taken) if isinstance(network, ipaddress.IPv4Network)
    ]
    used += [route.network for route in routes]
    for text in POOLS:
        pool = ipaddress.IPv4Network(text)
        candidate = int(pool.network_address)
        end = candidate + pool.num_addresses
        near = sorted(
            (network for network in used if network.overlaps(pool)), key=lambda one: one.network_address
        )
        size = 1 << (32 - DEFAULT_PREFIX)
        for network in near:  # in order of their beginnings, so one walk finds the first gap
            if candidate + size <= int(network.network_address):
                break
            behind = int(network.broadcast_address) + 1
            candidate = max(candidate, -(-behind // size) * size)
        if candidate + size <= end:
            return ipaddress.IPv4Network((candidate, DEFAULT_PREFIX))
    raise NetworkError(
        f"{what}: no free subnet is left in {', '.join(POOLS)}",
        hint="give the network a subnet in its ipam.config",
    )


def assign(
    name: str,
    plan: NetworkAddresses,
    slots: Sequence[str],
    *,
    held: Mapping[str, str] | None = None,
    fixed: Mapping[str, str] | None = None,
    version: int = 4,
) -> dict[str, str]:
    """An address, with prefix length, for each of `slots` in the network `name`.

    `held` are the addresses (with or without prefix length) by slot that are reserved already, of all slots
    of the network; `fixed` are those that the compose file gives (``ipv4_address``, ``ipv6_address``). A slot
    keeps what it holds unless its fixed address is another one.
    """
    text, gateway, ip_range = (
        (plan.subnet, plan.gateway, plan.ip_range)
        if version == 4
        else (plan.subnet6, plan.gateway6, plan.ip_range6)
    )
    if not text:
        hint = "add 'enable_ipv6: true' to the network" if version == 6 else None
        raise NetworkError(f"network {name}: it has no IPv{version} subnet", hint=hint)
    subnet = ipaddress.ip_network(text)
    owners = {ipaddress.ip_address(address.partition("/")[0]): slot for slot, address in (held or {}).items()}
    result = _fixed(name, subnet, gateway, fixed or {}, owners)
    holding = {slot: address for address, slot in owners.items() if slot not in result}
    forbidden = set(result.values()) | set(holding.values()) | {ipaddress.ip_address(gateway)}
    forbidden |= {ipaddress.ip_address(one) for one in plan.reserved}
    limited = ipaddress.ip_network(ip_range) if ip_range else subnet
    fresh = _spare(subnet, limited, forbidden)
    for slot in slots:
        if slot in result:
            continue
        kept = holding.get(slot)
        address = kept if kept is not None and kept in subnet else next(fresh, None)
        if address is None:
            raise NetworkError(
                f"network {name}: no free address for {slot} in {limited}",
                hint="give the network a larger subnet in its ipam.config",
            )
        result[slot] = address
    return {slot: f"{result[slot]}/{subnet.prefixlen}" for slot in slots}


def _fixed(
    name: str, subnet: Network, gateway: str, fixed: Mapping[str, str], owners: Mapping[Address, str]
) -> dict[str, Address]:
    result: dict[str, Address] = {}
    for slot, text in fixed.items():
        address = _within(f"network {name}", f"address of {slot}", text, subnet)
        holder = owners.get(address)
        if holder in fixed and holder != slot:
            holder = None  # it moves to an address of its own
        taken = next((other for other, there in result.items() if there == address), holder)
        if str(address) == gateway:
            raise NetworkError(f"network {name}: address {address} of {slot} is the gateway's")
        if subnet.version == 4 and address in (subnet.network_address, subnet.broadcast_address):
            raise NetworkError(f"network {name}: address {address} of {slot} is not for a container")
        if taken not in (None, slot):
            raise NetworkError(
                f"network {name}: address {address} of {slot} is in use by {taken}",
                hint=f"pycompose rm --stop {str(taken).partition('.')[2].partition('.')[0]}",
            )
        result[slot] = address
    return result


def _spare(subnet: Network, limited: Network, forbidden: set[Address]) -> Iterator[Any]:
    """The addresses of `limited` in order, without the forbidden, the network's own and the broadcast one."""
    last = int(subnet.broadcast_address) - (1 if subnet.version == 4 else 0)
    kind = type(subnet.network_address)
    for number in range(
        max(int(limited.network_address), int(subnet.network_address) + 1),
        min(int(limited.broadcast_address), last) + 1,
    ):
        address = kind(number)
        if address not in forbidden:
            yield address
