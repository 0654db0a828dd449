"""Bridges and links, made and removed by the set-up process."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from compose.engine.embedded.spec.namespaces import has_own_network
from compose.engine.embedded.threads import in_thread
from compose.errors import NetworkError
from compose.linux.beneath import remove_path
from compose.network.types import ContainerLinks, NetworkSpec
from compose.network.types import Endpoint as Link
from compose.runtime.records import boot_id
from compose.state.files import replace

from .given import container_links, endpoints
from .reserving import retire, row_of, slot_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.engine.embedded.context import Context
    from compose.plan.actions import CreateContainer, CreateNetwork
    from compose.plan.target import Wanted
    from compose.runtime.spec import ContainerSpec
    from compose.state.index import ContainerRow, NetworkRow
    from compose.state.paths import Paths


def begin(context: Context, networks: Sequence[CreateNetwork], creations: Sequence[CreateContainer]) -> None:
    """Make networks, and namespaces of new containers, from now on: other processes do it while we prepare.

    Everything is reserved and written down; the actions of the plan wait for what was begun here. Networks
    that replace another one have to wait for its end, and their containers with them.
    """
    later = {action.key for action in networks if action.target in context.retired}
    specs = [_network_spec(context, action) for action in networks if action.key not in later]
    links = []
    for action in creations:
        wanted = context.wanted(action.service)
        if later.intersection(wanted.config.get("networks") or ()):
            continue
        if action.replaces is None and has_own_network(wanted.config):
            given = endpoints(context, wanted, action.number)
            links.append(container_links(wanted, context.identities[action.target], given))
    first = context.new_networks.begin(specs) if specs else None
    if links:
        context.new_links.begin(links, after=first)


def _network_spec(context: Context, action: CreateNetwork) -> NetworkSpec:
    """What the set-up process is told about a network."""
    return _spec_of(row_of(context, action.key))


def _spec_of(row: NetworkRow) -> NetworkSpec:
    return NetworkSpec(
        row.id,
        row.name,
        row.project,
        row.subnet,
        row.gateway,
        row.subnet6,
        row.gateway6,
        internal=row.internal,
    )


async def create(context: Context, action: CreateNetwork) -> None:
    """Make the project's sandbox when it is not there, and the network's bridge in it."""
    spec = _network_spec(context, action)
    os.makedirs(context.paths.network_run(spec.id), mode=0o700, exist_ok=True)
    await context.new_networks.submit(spec)
    replace(_mark(context.paths, spec.id), _made_in(context.paths, spec.sandbox).encode(), durable=False)


def is_whole(paths: Paths, row: NetworkRow) -> bool:
    """Whether the network's bridge is there: `create` has been through, in the sandbox that there is now."""
    made_in = _made_in(paths, row.project)
    try:
        with open(_mark(paths, row.id), encoding="ascii") as file:
            return bool(made_in) and file.read() == made_in
    except (OSError, ValueError):
        return False


def _mark(paths: Paths, identity: str) -> str:
    """The file that says where a network's bridge is: written after that, removed before it."""
    return f"{paths.network_run(identity)}/whole"


def _made_in(paths: Paths, sandbox: str) -> str:
    """Which network namespace a project's sandbox is now; "" when it has none."""
    path = paths.project_namespace(sandbox)
    return f"{boot_id()} {os.stat(path).st_ino}" if is_pinned(path) else ""


def is_pinned(path: str) -> bool:
    """Whether a namespace is pinned at `path`: then it lies on another file system than its directory."""
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except OSError:
        return False


async def connect(context: Context, wanted: Wanted, spec: ContainerSpec) -> None:
    """Furnish a container's network namespace; its name sockets go to the keeper."""
    await context.new_links.submit(container_links(wanted, spec["id"], spec["endpoints"]))


async def connect_again(context: Context, spec: ContainerSpec) -> None:
    """`connect` for a container that is whole, but whose sockets went with a keeper that was killed."""
    links = [Link.of(endpoint) for endpoint in spec["endpoints"]]
    await in_thread(context.make_links, [ContainerLinks(spec["id"], links, dns=True)])


async def disconnect(
    context: Context, row: ContainerRow, spec: ContainerSpec | None, *, keep_address: bool
) -> None:
    """Remove a container's namespace and links; its names too, unless `keep_address` is set.

    `spec` is None when it cannot be read: the id alone says what to look for.
    """
    links = [Link.of(endpoint) for endpoint in (spec or {}).get("endpoints") or ()]
    await context.old_links.submit(ContainerLinks(row.id, links, dns=False))
    name = slot_of(row)
    for network in _networks_of(context, name):
        if not keep_address:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{context.paths.network_run(network)}/{name}.json")


def _networks_of(context: Context, name: str) -> list[str]:
    return [row.id for row in context.index.networks() if name in context.index.endpoints(row.id)]


async def remove(context: Context, name: str) -> None:
    """Remove a network of the project: its bridge, its names, its addresses, its record.

    One that another project has come to meanwhile stays.
    """
    identity = context.retired.pop(name, "")
    if not identity:
        try:
            with context.index.change() as transaction:
                retire(context, transaction, name)
        except NetworkError as error:
            context.warn(f"{error}; it stays")
            return
    rows = context.index.networks(context.name)
    row = next((row for row in rows if row.id == identity or not identity and _was_called(row, name)), None)
    if row is None:
        return
    await in_thread(remove_path, _mark(context.paths, row.id))
    await context.old_networks.submit(_spec_of(row))
    await in_thread(remove_path, context.paths.network_run(row.id))
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM endpoints WHERE network = ?", (row.id,))
        transaction.execute("DELETE FROM networks WHERE id = ?", (row.id,))


def _was_called(row: NetworkRow, name: str) -> bool:
    return not row.key and name in (row.name, row.name.partition("#")[0])
