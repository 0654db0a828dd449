"""Before a plan is carried out all that it makes is written down, and what only one can have is taken: names,
subnets, addresses, host ports. When one of them cannot be had, nothing has happened.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.errors import ContainerError, PlanError
from compose.linux.files import spread_directories
from compose.plan.actions import (
    CreateContainer,
    CreateNetwork,
    CreateVolume,
    KillContainer,
    LeaveSandbox,
    RemoveContainer,
    RemoveNetwork,
    RemoveSandbox,
    RestartContainer,
    StartContainer,
    StopContainer,
)
from compose.runtime.client import Keeper
from compose.state.index import as_text
from compose.volumes.local import Local

from . import devices, networks, platform, ports, recorded, revive, sharing, sources
from .rows import container_row, new_identity
from .seccomp import program
from .spec.check import check_service, placed
from .spec.namespaces import useless
from .spec.resources import risks
from .spec.security import missing, security
from .volumes import local_options

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Sequence

    from compose.plan.actions import Action
    from compose.plan.plan import Plan
    from compose.state.paths import Paths

    from .context import Context

_CHANGING = (CreateContainer, StopContainer, KillContainer, RemoveContainer)
"""What keeps no container as it is."""


def reserve(context: Context, plan: Plan) -> None:
    """Write down what `plan` makes; raises before anything is made.

    A plan that takes the whole project away makes nothing, and lets nothing start again from here on.
    """
    actions = [operation.action for operation in plan.operations]
    creations = [action for action in actions if isinstance(action, CreateContainer)]
    if any(isinstance(action, RemoveSandbox) for action in actions):
        Keeper(context.paths, context.name).set_stopping(True)
    elif not any(isinstance(action, LeaveSandbox) for action in actions):
        changing = {action.target for action in actions if isinstance(action, _CHANGING)}
        revive.sockets(context, changing | {action.replaces or "" for action in creations})
    context.leaving = frozenset(one.target for one in actions if isinstance(one, RemoveContainer))
    services = sorted({action.service for action in creations})
    for service in services:
        _check(context, service)
    for action in creations:
        context.identities[action.target] = new_identity()
    for service in services:
        sharing.check(context, service)
        sharing.check_external_links(context, service)
    made = [
        action for action in actions if isinstance(action, (CreateContainer, CreateNetwork, CreateVolume))
    ]
    started = {action.target for action in actions if isinstance(action, StartContainer)}
    if made or started:
        # One transaction: where a name, an address or a port cannot be had, nothing stays written down.
        with context.index.change() as transaction:
            if made:
                removed = {action.target for action in actions if isinstance(action, RemoveNetwork)}
                _write_down(context, transaction, made, removed)
            _take_ports(context, actions, started)
    if creations:
        _make_home(context.paths)
    if context.target is not None:
        recorded.restore_names(context, {*context.identities, *(one.replaces or "" for one in creations)})
    networks.tell_all(context, [action for action in creations if action.replaces is None])
    if made or started or any(isinstance(action, RestartContainer) for action in actions):
        context.keeper()  # it gets ready while the network is made
    networks.begin(context, [action for action in made if isinstance(action, CreateNetwork)], creations)


def _make_home(paths: Paths) -> None:
    """The directory in which each container gets one."""
    os.makedirs(paths.containers, mode=0o700, exist_ok=True)
    spread_directories(paths.containers)


def _check(context: Context, name: str) -> None:
    """Refuse a service that no container can be made from, or that wants what this host does not have."""
    project = context.project
    assert project is not None
    check_service(project, name, context.definitions())
    sources.check(project, name)
    config = context.wanted(name).config
    key = ""
    try:
        devices.find(config)
        key = "security_opt"
        options = security(config)
        if options.seccomp:
            program(context.paths, config, project.directory)
    except ContainerError as error:
        raise placed(project, name, error, key) from None
    platform.check(context, name)
    said = [("security_opt", text) for text in missing(options)] + useless(config) + risks(config)
    for key, text in said:
        context.warn(f"{project.where(('services', name, key))}: service {name}: {text}")


def _write_down(
    context: Context,
    transaction: sqlite3.Connection,
    made: Sequence[CreateContainer | CreateNetwork | CreateVolume],
    removed: Collection[str],
) -> None:
    _project(context, transaction)
    for name in sorted(removed):
        networks.retire(context, transaction, name, successor=True)
    for other in made:
        if isinstance(other, CreateNetwork):
            networks.reserve(context, transaction, other)
        elif isinstance(other, CreateVolume):
            _volume(context, transaction, other)
    creations = [action for action in made if isinstance(action, CreateContainer)]
    for action in creations:
        _name_is_free(transaction, action)
        if action.replaces is None:
            transaction.execute(*container_row(context, action))
    networks.reserve_addresses(context, transaction, creations)


def _take_ports(context: Context, actions: Sequence[Action], started: set[str]) -> None:
    stopped = {action.target for action in actions if isinstance(action, StopContainer)}
    creations = [action for action in actions if isinstance(action, CreateContainer)]
    ports.take(
        context,
        [action for action in creations if action.target in started - stopped],
        sorted(started - stopped - {action.target for action in creations}),
        sorted(stopped),
    )


def _project(context: Context, transaction: sqlite3.Connection) -> None:
    import json

    project = context.project
    assert project is not None
    transaction.execute(
        "INSERT OR REPLACE INTO projects VALUES (?, ?, ?)",
        (context.name, as_text(project.directory), json.dumps(list(project.files))),
    )


def _volume(context: Context, transaction: sqlite3.Connection, action: CreateVolume) -> None:
    import json
    import time

    assert context.project is not None and context.target is not None
    definition = context.project.volumes[action.key]
    context.volumes.directory(action.target)  # refuses a name that cannot be one
    if options := local_options(definition):
        Local(action.target, options).check()
    taken = transaction.execute("SELECT project FROM volumes WHERE name = ?", (action.target,)).fetchone()
    if taken is not None:
        raise PlanError(
            f"volume {action.target} belongs to project {taken[0]}",
            hint=f"add 'external: true' to volume {action.key} to share it, or give it another name",
        )
    transaction.execute(
        "INSERT INTO volumes VALUES (?, ?, ?, '', ?, ?, ?, ?)",
        (
            action.target,
            context.name,
            action.key,
            definition.get("driver") or "local",
            json.dumps(definition.get("labels") or {}),
            context.target.volumes[action.key].config_hash,
            time.time_ns(),
        ),
    )


def _name_is_free(transaction: sqlite3.Connection, action: CreateContainer) -> None:
    if action.replaces == action.target:
        return
    taken = transaction.execute("SELECT project FROM containers WHERE name = ?", (action.target,)).fetchone()
    if taken is not None:
        raise PlanError(
            f"container name {action.target} is in use by project {taken[0]}",
            hint=f"change container_name of service {action.service}, or run 'pycompose -p {taken[0]} down'",
        )
