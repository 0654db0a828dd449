"""Networks of a project: subnets and addresses from the index, bridges and links from the set-up process.

What the name services know stands in one file an endpoint (network/table.py). It is written as soon as the
address is reserved, so every name of a network resolves before its container is there.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from compose.errors import NetworkError
from compose.linux.beneath import remove_path
from compose.network import addresses
from compose.network.types import ContainerLinks, NetworkSpec
from compose.network.types import Endpoint as Link
from compose.runtime.client import Keeper
from compose.state.files import read_json, replace_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from compose.plan.actions import CreateContainer, CreateNetwork
    from compose.plan.target import Wanted
    from compose.runtime.spec import ContainerSpec, Endpoint
    from compose.state.index import ContainerRow, NetworkRow

    from .context import Context


# Reserving --------------------------------------------------------------------------------------------------


def reserve(context: Context, transaction: sqlite3.Connection, action: CreateNetwork) -> None:
    """Write a network down with a subnet that nobody else has; one whose record is there keeps it."""
    import json

    assert context.project is not None and context.target is not None
    taken = transaction.execute(
        "SELECT project, key FROM networks WHERE name = ?", (action.target,)
    ).fetchone()
    if taken == (context.name, action.key):
        return
    if taken is not None:
        raise NetworkError(
            f"network {action.target} belongs to project {taken[0]}",
            hint=f"add 'external: true' to network {action.key} to join it, or give it another name",
        )
    definition: Mapping[str, Any] = context.project.networks[action.key]
    identity = os.urandom(32).hex()
    plan = addresses.plan_network(
        action.target,
        ipam=_ipam(definition),
        taken=[row[0] for row in transaction.execute("SELECT subnet FROM networks")],
        routes=addresses.read_routes(),
        identity=identity,
    )
    transaction.execute(
        "INSERT INTO networks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            identity,
            action.target,
            context.name,
            action.key,
            plan.subnet,
            plan.gateway,
            int(bool(definition.get("internal"))),
            context.target.networks[action.key].config_hash,
            json.dumps(definition.get("labels") or {}),
        ),
    )


def _ipam(definition: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (definition.get("ipam") or {}).get("config") or ()


def reserve_addresses(context: Context, creations: Sequence[CreateContainer]) -> None:
    """Give every container of the plan its address in each of its networks, and tell the name services."""
    assert context.project is not None
    by_network: dict[str, list[CreateContainer]] = {}
    for action in creations:
        for key in context.wanted(action.service).config.get("networks") or {}:
            by_network.setdefault(key, []).append(action)
    if not by_network:
        return
    with context.index.change() as transaction:
        for key, actions in by_network.items():
            row = row_of(context, key)
            _assign(context, transaction, row, key, actions)
    for action in creations:
        if action.replaces is None:
            tell_name_services(context, action)


def _assign(
    context: Context,
    transaction: sqlite3.Connection,
    row: NetworkRow,
    key: str,
    actions: Sequence[CreateContainer],
) -> None:
    assert context.project is not None
    rows = transaction.execute("SELECT slot, ipv4 FROM endpoints WHERE network = ?", (row.id,)).fetchall()
    fixed = {}
    for action in actions:
        options = context.wanted(action.service).config["networks"][key] or {}
        if options.get("ipv4_address"):
            fixed[slot(context.name, action)] = str(options["ipv4_address"])
    definition = context.project.networks[key]
    plan = addresses.plan_network(row.name, ipam=_ipam(definition) or [{"subnet": row.subnet}])
    slots = [slot(context.name, action) for action in actions]
    found = addresses.assign(row.name, plan, slots, held=dict(rows), fixed=fixed)
    transaction.executemany(
        "INSERT OR REPLACE INTO endpoints VALUES (?, ?, ?)",
        [(row.id, name, address) for name, address in found.items()],
    )


def slot(project: str, action: CreateContainer) -> str:
    """What an address belongs to: it outlives the container."""
    return f"{project}.{action.service}.{action.number}"


def row_of(context: Context, key: str) -> NetworkRow:
    """The record of the network that the compose file calls `key`, also of another project's."""
    assert context.target is not None
    wanted = context.target.networks[key]
    row = context.index.network_named(wanted.name)
    if row is None:
        raise NetworkError(
            f"network {wanted.name} is declared as external, but there is none of that name",
            hint="start the project that owns it, or remove 'external: true'",
        )
    return row


def tell_name_services(context: Context, action: CreateContainer) -> None:
    """Write the names of a container, in each of its networks."""
    wanted = context.wanted(action.service)
    for key in wanted.config.get("networks") or {}:
        _write_names(context, wanted, key, action)


def _write_names(context: Context, wanted: Wanted, key: str, action: CreateContainer) -> None:
    row = row_of(context, key)
    address = context.index.endpoints(row.id)[slot(context.name, action)]
    options = wanted.config["networks"][key] or {}
    identity = context.identities[action.target]
    given = [wanted.name, action.target, identity[:12], *(options.get("aliases") or ())]
    if wanted.config.get("hostname"):
        given.append(str(wanted.config["hostname"]))
    links = {}
    for link in wanted.config.get("links") or ():
        service, _, alias = str(link).partition(":")
        links[alias or service] = service
    resolvers = [str(server) for server in wanted.config.get("dns") or ()]
    os.makedirs(context.paths.network_run(row.id), mode=0o700, exist_ok=True)
    replace_json(
        f"{context.paths.network_run(row.id)}/{slot(context.name, action)}.json",
        {
            "container": identity,
            "project": context.name,
            "service": wanted.name,
            "ipv4": address.partition("/")[0],
            "names": list(dict.fromkeys(given)),
            "internal": row.internal,
            "extra": {"network": row.name, "links": links, "dns": resolvers},
        },
        durable=False,
    )


# What a container gets --------------------------------------------------------------------------------------


def endpoints(context: Context, wanted: Wanted, number: int) -> list[Endpoint]:
    """The interfaces of a container, the one with the default route first.

    Order: ``gw_priority``, then ``priority``, highest first, then the name, as docker compose connects them;
    networks without a way out come last.
    """
    attached: Mapping[str, Mapping[str, Any] | None] = wanted.config.get("networks") or {}
    rows = {key: row_of(context, key) for key in attached}

    def rank(key: str) -> tuple[bool, int, int, str]:
        options = attached[key] or {}
        gateway, priority = int(options.get("gw_priority") or 0), int(options.get("priority") or 0)
        return rows[key].internal, -gateway, -priority, key

    found: list[Endpoint] = []
    for place, key in enumerate(sorted(attached, key=rank)):
        options, row = attached[key] or {}, rows[key]
        held = context.index.endpoints(row.id)
        endpoint: Endpoint = {
            "network": row.id,
            "interface": str(options.get("interface_name") or f"eth{place}"),
            "ipv4": held[f"{context.name}.{wanted.name}.{number}"],
            "gateway": "" if row.internal else row.gateway,
            "internal": row.internal,
            "sandbox": row.project,
        }
        mac = options.get("mac_address") or (wanted.config.get("mac_address") if place == 0 else None)
        if mac:
            endpoint["mac"] = str(mac)
        found.append(endpoint)
    return found


def gateway(context: Context) -> str:
    """The host's address as containers of the project reach it; "" when there is no way out."""
    try:
        return str(read_json(f"{context.paths.project_run(context.name)}/uplink.json").get("host") or "")
    except (OSError, ValueError):
        return ""


# Making and removing ----------------------------------------------------------------------------------------


def begin(context: Context, networks: Sequence[CreateNetwork], creations: Sequence[CreateContainer]) -> None:
    """Make networks, and namespaces of new containers, from now on: other processes do it while we prepare.

    Everything is reserved and written down; the actions of the plan wait for what was begun here.
    """
    specs = [network_spec(context, action) for action in networks]
    links = []
    for action in creations:
        wanted = context.wanted(action.service)
        if action.replaces is None and wanted.config.get("network_mode") != "host":
            given = endpoints(context, wanted, action.number)
            links.append(container_links(wanted, context.identities[action.target], given))
    first = context.new_networks.begin(specs) if specs else None
    if links:
        context.new_links.begin(links, after=first)


def network_spec(context: Context, action: CreateNetwork) -> NetworkSpec:
    """What the set-up process is told about a network."""
    row = row_of(context, action.key)
    return NetworkSpec(row.id, row.name, context.name, row.subnet, row.gateway, internal=row.internal)


def container_links(wanted: Wanted, identity: str, given: Sequence[Endpoint]) -> ContainerLinks:
    """What the set-up process is told about a container."""
    links = [Link.of(endpoint) for endpoint in given]
    sysctls = {k: str(v) for k, v in (wanted.config.get("sysctls") or {}).items() if k.startswith("net.")}
    return ContainerLinks(identity, links, dns=bool(links), sysctls=sysctls)


async def create(context: Context, action: CreateNetwork) -> None:
    """Make the project's sandbox when it is not there, and the network's bridge in it."""
    spec = network_spec(context, action)
    os.makedirs(context.paths.network_run(spec.id), mode=0o700, exist_ok=True)
    await context.new_networks.submit(spec)


async def connect(context: Context, wanted: Wanted, spec: ContainerSpec) -> None:
    """Furnish a container's network namespace; its name sockets go to the keeper."""
    await context.new_links.submit(container_links(wanted, spec["id"], spec["endpoints"]))


async def disconnect(
    context: Context, row: ContainerRow, spec: ContainerSpec | None, *, keep_address: bool
) -> None:
    """Remove a container's namespace, links and names; with `keep_address` its successor gets the address.

    `spec` is None when it cannot be read: the id alone says what to look for.
    """
    links = [Link.of(endpoint) for endpoint in (spec or {}).get("endpoints") or ()]
    await context.old_links.submit(ContainerLinks(row.id, links, dns=False))
    name = f"{row.project}.{row.service}.{row.number}"
    for network in _networks_of(context, name):
        if not keep_address:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{context.paths.network_run(network)}/{name}.json")
    if not keep_address:
        with context.index.change() as transaction:
            transaction.execute("DELETE FROM endpoints WHERE slot = ?", (name,))


def _networks_of(context: Context, name: str) -> list[str]:
    return [row.id for row in context.index.networks() if name in context.index.endpoints(row.id)]


def report(problems: Sequence[str]) -> None:
    """Raise what a removal that went on past errors has met."""
    if problems:
        raise NetworkError("; ".join(problems))


async def remove(context: Context, name: str) -> None:
    """Remove a network of the project: its bridge, its names, its addresses, its record."""
    row = context.index.network_named(name)
    if row is None:
        return

    def work() -> None:
        spec = NetworkSpec(row.id, row.name, row.project, row.subnet, row.gateway, internal=row.internal)
        with context.network() as client:
            report(client.remove_networks([spec]))
        remove_path(context.paths.network_run(row.id))

    await anyio.to_thread.run_sync(work)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM endpoints WHERE network = ?", (row.id,))
        transaction.execute("DELETE FROM networks WHERE id = ?", (row.id,))


async def remove_sandbox(context: Context) -> None:
    """Take away the helper processes, the namespace and everything else that only a live project has."""

    def work() -> None:
        Keeper(context.paths, context.name).shutdown()  # also sweeps up after one that was killed
        with context.network() as client:
            report(client.remove_sandbox(context.name))
        remove_path(context.paths.project_run(context.name))

    await anyio.to_thread.run_sync(work)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM projects WHERE name = ?", (context.name,))
