"""What the name services know: one file an endpoint (network/netd/table.py).

It is written as soon as the address is reserved, so every name of a network resolves before its container is
there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.state.files import replace_json

from .reserving import row_of, slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.engine.embedded.context import Context
    from compose.plan.actions import CreateContainer
    from compose.plan.target import Wanted
    from compose.state.index import NetworkRow
    from compose.state.paths import Paths


def tell_all(context: Context, creations: Sequence[CreateContainer]) -> None:
    """Write the names of containers that are not there yet."""
    for action in creations:
        tell_name_services(context, action)


def tell_name_services(context: Context, action: CreateContainer) -> None:
    """Write the names of a container, in each of its networks."""
    wanted = context.wanted(action.service)
    identity = context.identities[action.target]
    for key in wanted.config.get("networks") or {}:
        row = row_of(context, key)
        write_names(context, wanted, row, key, action.target, identity, slot(context.name, action))


def told(paths: Paths, identity: str) -> frozenset[str]:
    """The slots of which the name services of a network have been told."""
    try:
        names = os.listdir(paths.network_run(identity))
    except FileNotFoundError:
        return frozenset()
    return frozenset(name.removesuffix(".json") for name in names)


def write_names(
    context: Context, wanted: Wanted, row: NetworkRow, key: str, name: str, identity: str, place: str
) -> None:
    """Tell the name services of one network of the container `name`, whose addresses belong to `place`."""
    ipv4, ipv6 = context.index.endpoints(row.id)[place]
    options = wanted.config["networks"][key] or {}
    given = [name, identity[:12], *(options.get("aliases") or ())]
    if wanted.oneoff is None or wanted.oneoff.use_aliases:
        given.insert(0, wanted.name)
    if wanted.config.get("hostname"):
        given.append(str(wanted.config["hostname"]))
    links = {}
    for link in wanted.config.get("links") or ():
        service, _, alias = str(link).partition(":")
        links[alias or service] = service
    for link in wanted.config.get("external_links") or ():
        container, _, alias = str(link).partition(":")
        links[alias or container] = container
    resolvers = [str(server) for server in wanted.config.get("dns") or ()]
    os.makedirs(context.paths.network_run(row.id), mode=0o700, exist_ok=True)
    replace_json(
        f"{context.paths.network_run(row.id)}/{place}.json",
        {
            "container": identity,
            "project": context.name,
            "service": wanted.name,
            "ipv4": ipv4.partition("/")[0],
            "ipv6": ipv6.partition("/")[0],
            "names": list(dict.fromkeys(given)),
            "internal": row.internal,
            "extra": {
                "network": row.name,
                "links": links,
                "dns": resolvers,
                "sandbox": row.project if row.project != context.name else "",
            },
        },
        durable=False,
    )
