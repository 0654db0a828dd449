"""Networks of a project: subnets and addresses from the index, bridges and links from the set-up process.

What the name services know stands in one file an endpoint (network/table.py). It is written as soon as the
address is reserved, so every name of a network resolves before its container is there.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from compose.errors import NetworkError
from compose.linux.beneath import remove_path
from compose.network import addresses
from compose.network.types import ContainerLinks, NetworkSpec
from compose.network.types import Endpoint as Link
from compose.runtime.client import Keeper
from compose.runtime.records import boot_id
from compose.state.files import read_json, replace, replace_json

from .hooks.before import forget
from .spec.interfaces import interface_name, interface_sysctls, link_local
from .spec.namespaces import has_own_network
from .spec.sysctls import of_network
from .threads import in_thread

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from compose.plan.actions import CreateContainer, CreateNetwork
    from compose.plan.target import Wanted
    from compose.runtime.spec import ContainerSpec, Endpoint
    from compose.state.index import ContainerRow, NetworkRow
    from compose.state.paths import Paths

    from .context import Context


# Reserving --------------------------------------------------------------------------------------------------


def retire(context: Context, transaction: sqlite3.Connection, name: str, *, successor: bool = False) -> None:
    """Take a network's name away, so that nobody else comes to it, and a `successor` may have it at once.

    The record stays until the bridge is gone: whoever finds it without a key removes both. Raises
    `NetworkError` where another project's containers are on the network.
    """
    found = transaction.execute("SELECT id FROM networks WHERE name = ? AND key != ''", (name,)).fetchone()
    if found is None:
        return
    (identity,) = found
    others = transaction.execute(
        "SELECT slot FROM endpoints WHERE network = ? AND substr(slot, 1, ?) != ? ORDER BY slot",
        (identity, len(context.name) + 1, f"{context.name}."),
    ).fetchall()
    if others:
        users = ", ".join(slot for (slot,) in others)
        raise NetworkError(f"network {name} is in use by {users}", hint="stop those containers first")
    transaction.execute(
        "UPDATE networks SET name = ?, key = '' WHERE id = ?", (f"{name}#{identity[:12]}", identity)
    )
    if successor:
        context.retired[name] = identity


def reserve(context: Context, transaction: sqlite3.Connection, action: CreateNetwork) -> None:
    """Write a network down with a subnet that nobody else has; one whose record is there keeps it."""
    import json

    assert context.project is not None and context.target is not None
    if context.target.networks[action.key].external:
        return
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
        ipam=(definition.get("ipam") or {}).get("config") or (),
        taken=[row[0] for row in transaction.execute("SELECT subnet FROM networks WHERE key != ''")],
        routes=addresses.read_routes(),
        ipv6=bool(definition.get("enable_ipv6")),
        identity=identity,
    )
    for warning in plan.warnings:
        context.warn(warning)
    pool = {"ip_range": plan.ip_range, "ip_range6": plan.ip_range6, "reserved": plan.reserved}
    transaction.execute(
        "INSERT INTO networks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            identity,
            action.target,
            context.name,
            action.key,
            plan.subnet,
            plan.gateway,
            plan.subnet6,
            plan.gateway6,
            json.dumps(pool),
            int(bool(definition.get("internal"))),
            context.target.networks[action.key].config_hash,
            json.dumps(definition.get("labels") or {}),
        ),
    )


def reserve_addresses(
    context: Context, transaction: sqlite3.Connection, creations: Sequence[CreateContainer]
) -> None:
    """Give every container of the plan its address in each of its networks."""
    by_network: dict[str, list[CreateContainer]] = {}
    for action in creations:
        for key in context.wanted(action.service).config.get("networks") or {}:
            by_network.setdefault(key, []).append(action)
    for key, actions in by_network.items():
        _assign(context, transaction, row_of(context, key), key, actions)


def _assign(
    context: Context,
    transaction: sqlite3.Connection,
    row: NetworkRow,
    key: str,
    actions: Sequence[CreateContainer],
) -> None:
    held = context.index.endpoints(row.id)
    slots = {slot(context.name, action): action for action in actions}
    plan = addresses.NetworkAddresses(row.subnet, row.gateway, subnet6=row.subnet6, gateway6=row.gateway6)
    plan = plan._replace(**row.pool)
    found: list[dict[str, str]] = []
    for place, version in enumerate((4, 6)):
        fixed = {}
        for name, action in slots.items():
            options = context.wanted(action.service).config["networks"][key] or {}
            if options.get(f"ipv{version}_address"):
                fixed[name] = str(options[f"ipv{version}_address"])
        if version == 6 and not row.subnet6 and not fixed:
            continue
        kept = {name: both[place] for name, both in held.items() if both[place]}
        found.append(addresses.assign(row.name, plan, [*slots], held=kept, fixed=fixed, version=version))
    transaction.executemany(
        "INSERT OR REPLACE INTO endpoints VALUES (?, ?, ?, ?)",
        [(row.id, name, found[0][name], found[1][name] if found[1:] else None) for name in slots],
    )


def slot(project: str, action: CreateContainer) -> str:
    """What an address belongs to: it outlives the container."""
    return f"{project}.{action.service}.{action.number}"


def slot_of(row: ContainerRow) -> str:
    """`slot` of a container that is there."""
    return f"{row.project}.{row.service}.{row.number}"


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


# What a container gets --------------------------------------------------------------------------------------


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


# Making and removing ----------------------------------------------------------------------------------------


def begin(context: Context, networks: Sequence[CreateNetwork], creations: Sequence[CreateContainer]) -> None:
    """Make networks, and namespaces of new containers, from now on: other processes do it while we prepare.

    Everything is reserved and written down; the actions of the plan wait for what was begun here. Networks
    that replace another one have to wait for its end, and their containers with them.
    """
    later = {action.key for action in networks if action.target in context.retired}
    specs = [network_spec(context, action) for action in networks if action.key not in later]
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


def network_spec(context: Context, action: CreateNetwork) -> NetworkSpec:
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


def container_links(wanted: Wanted, identity: str, given: Sequence[Endpoint]) -> ContainerLinks:
    """What the set-up process is told about a container."""
    links = [Link.of(endpoint) for endpoint in given]
    return ContainerLinks(identity, links, dns=bool(links), sysctls=of_network(wanted.config))


async def create(context: Context, action: CreateNetwork) -> None:
    """Make the project's sandbox when it is not there, and the network's bridge in it."""
    spec = network_spec(context, action)
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


def report(problems: Sequence[str]) -> None:
    """Raise what a removal that went on past errors has met."""
    if problems:
        raise NetworkError("; ".join(problems))


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


async def remove_sandbox(context: Context) -> None:
    """Take away the helper processes, the namespace and everything else that only a live project has."""
    if context.index.networks(context.name):  # another project has come to one of them meanwhile
        await leave_sandbox(context)
        return

    def work() -> None:
        Keeper(context.paths, context.name).shutdown()  # also sweeps up after one that was killed
        with context.network() as client:
            report(client.remove_sandbox(context.name))
        remove_path(context.paths.project_run(context.name))

    await in_thread(work)
    forget(context.paths, context.name)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM projects WHERE name = ?", (context.name,))


async def leave_sandbox(context: Context) -> None:
    """End the helper processes; the namespace stays for the networks in it that other projects use.

    With the record of the project gone, those networks belong to their users: the last one's `down` takes
    them away.
    """
    await in_thread(Keeper(context.paths, context.name).shutdown)
    forget(context.paths, context.name)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM projects WHERE name = ?", (context.name,))
