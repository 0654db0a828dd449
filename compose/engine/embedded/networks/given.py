"""What a container gets of its networks."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from compose.engine.embedded.spec.interfaces import interface_name, interface_sysctls, link_local
from compose.engine.embedded.spec.sysctls import of_network
from compose.network.types import ContainerLinks
from compose.network.types import Endpoint as Link
from compose.state.files import read_json

from .reserving import row_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.engine.embedded.context import Context
    from compose.plan.target import Wanted
    from compose.runtime.spec import Endpoint


def endpoints(context: Context, wanted: Wanted, number: int) -> list[Endpoint]:
    """The interfaces of a container, the one with the default route first.

    Interfaces are numbered by ``priority``, highest first, then by name, as docker compose connects them. The
    default route goes to the network with the highest ``gw_priority``, in the same order where that is equal;
    networks without a way out come last.
    """
    attached: Mapping[str, Mapping[str, Any] | None] = wanted.config.get("networks") or {}
    rows = {key: row_of(context, key) for key in attached}

    def number_of(key: str, option: str) -> int:
        return int((attached[key] or {}).get(option) or 0)

    order = sorted(attached, key=lambda key: (-number_of(key, "priority"), key))
    names = {key: interface_name(attached[key] or {}) for key in order}
    nameless = [key for key in order if not names[key]]
    found: list[Endpoint] = []
    for key in sorted(order, key=lambda key: (rows[key].internal, -number_of(key, "gw_priority"))):
        options, row = attached[key] or {}, rows[key]
        ipv4, ipv6 = context.index.endpoints(row.id)[f"{context.name}.{wanted.name}.{number}"]
        endpoint: Endpoint = {
            "network": row.id,
            "key": key,
            "interface": names[key] or f"eth{nameless.index(key)}",
            "ipv4": ipv4,
            "gateway": "" if row.internal else row.gateway,
            "ipv6": ipv6,
            "gateway6": "" if row.internal else row.gateway6,
            "internal": row.internal,
            "sandbox": row.project,
        }
        mac = options.get("mac_address") or (wanted.config.get("mac_address") if key == order[0] else None)
        if mac:
            endpoint["mac"] = str(mac).replace("-", ":")
        if addresses_of_link := link_local(options):
            endpoint["link_local"] = addresses_of_link
        if settings := interface_sysctls(options, endpoint["interface"]):
            endpoint["sysctls"] = settings
        found.append(endpoint)
    return found


def gateway(context: Context) -> str:
    """The host's address as containers of the project reach it; "" when there is no way out.

    That is its end of the project's uplink, or of the uplink of a project whose network it has joined.
    """
    assert context.target is not None
    rows = (context.index.network_named(network.name) for network in context.target.networks.values())
    for project in dict.fromkeys((context.name, *(row.project for row in rows if row is not None))):
        with contextlib.suppress(OSError, ValueError):
            return str(read_json(f"{context.paths.project_run(project)}/uplink.json").get("host") or "")
    return ""


def container_links(wanted: Wanted, identity: str, given: Sequence[Endpoint]) -> ContainerLinks:
    """What the set-up process is told about a container."""
    links = [Link.of(endpoint) for endpoint in given]
    return ContainerLinks(identity, links, dns=bool(links), sysctls=of_network(wanted.config))
