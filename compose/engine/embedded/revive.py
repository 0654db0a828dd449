"""What running containers have lost with helpers that were all killed at once: given back before a plan is
carried out.

Their monitors open ports and name sockets again by themselves (supervision/monitor/reopening.py). This is for
what those cannot: name sockets whose place somebody else has, ports of which no record says where they were.
It also says which port another program has taken.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from compose.errors import ComposeError, NetworkError, StateError
from compose.network.listeners import bind_listeners, close_all, helper_of, holder
from compose.network.types import ContainerLinks
from compose.network.types import Endpoint as Link
from compose.runtime import records

from . import ports

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from compose.network.listeners import Port
    from compose.runtime.client import Keeper
    from compose.state.index import ContainerRow

    from .context import Context

_PATIENCE = 2.0
"""Seconds within which whoever has outlived a keeper gives its successor what that one held."""
_PAUSE = 0.02


def sockets(context: Context, changing: Collection[str]) -> None:
    """Open what the project's running containers lack, but for those called `changing`.

    Problems are warned of: what runs, runs on.
    """
    running = [row for row in context.index.containers(context.name) if _stays(context, row, changing)]
    if not running:
        return
    try:
        keeper = context.keeper()  # this also takes back that the project goes down
        for row in running:
            if records.is_unwatched(records.recorded_state(context.paths, row.id)):
                context.revival.bring_back(row.id)
        _open_names(context, keeper, running)
        _open_ports(context, keeper, running)
    except (ComposeError, OSError) as error:
        context.warn(f"open the sockets of running containers again: {error}")


def _stays(context: Context, row: ContainerRow, changing: Collection[str]) -> bool:
    """Whether a container runs and is left alone; damaged records are told of elsewhere."""
    if row.name in changing:
        return False
    try:
        state = records.recorded_state(context.paths, row.id)
    except StateError:
        return False
    return state.get("status") in records.RUNNING and state.get("boot_id") == records.boot_id()


def _open_names(context: Context, keeper: Keeper, running: Sequence[ContainerRow]) -> None:
    """Open name sockets that nobody gives back within some moments, wherever there is room for them."""
    deadline = time.monotonic() + _PATIENCE
    while lacking := _without_names(context, keeper.names(), running):
        if time.monotonic() > deadline:
            context.make_links(lacking)
            return
        time.sleep(_PAUSE)


def _without_names(
    context: Context, held: Collection[str], running: Sequence[ContainerRow]
) -> list[ContainerLinks]:
    found = []
    for row in running:
        if f"dns/{row.id}" in held:
            continue
        try:
            spec = records.read_spec(context.paths, row.id)
        except StateError:
            continue
        own = spec.get("network_namespace") == context.paths.container_namespace(row.id)
        links = [Link.of(endpoint) for endpoint in spec.get("endpoints") or ()]
        if own and links:
            found.append(ContainerLinks(row.id, links, dns=True))
    return found


def _open_ports(context: Context, keeper: Keeper, running: Sequence[ContainerRow]) -> None:
    """Open ports that the keeper does not hold; says who has those that cannot be had."""
    held = keeper.names()
    for row in running:
        for port in ports.recorded(context, row.id, row.name):
            start = f"listen/{row.id}/{port.protocol}/{port.host_ip}/{port.published}/"
            if not any(name.startswith(start) for name in held):
                _open_port(context, keeper, port)


def _open_port(context: Context, keeper: Keeper, port: Port) -> None:
    try:
        listeners = bind_listeners([port])
    except NetworkError as error:
        if not _is_handed_over(context, port):
            context.warn(f"{error.message}; {error.hint}" if error.hint else error.message)
        return
    try:
        keeper.put_all({listener.name: [listener.fileno()] for listener in listeners})
    finally:
        close_all(listeners)


def _is_handed_over(context: Context, port: Port) -> bool:
    """Whether a helper of ours has a port that the keeper does not hold yet."""
    found = holder(int(port.published), port.protocol)
    return found is not None and helper_of(found[0]) == (context.paths.run, context.name)
