"""Networks and addresses in the index: written down before anything is made, so that one alone has them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from compose.engine.embedded import blame
from compose.errors import NetworkError
from compose.network import addresses

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.engine.embedded.context import Context
    from compose.plan.actions import CreateContainer, CreateNetwork
    from compose.state.index import ContainerRow, NetworkRow


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
        try:
            given = addresses.assign(row.name, plan, [*slots], held=kept, fixed=fixed, version=version)
        except NetworkError as error:
            for name, action in slots.items():
                if name in error.message.split():
                    blame.place(context.project, action.service, error)
            raise
        found.append(given)
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
