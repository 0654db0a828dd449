"""A project from its records alone: its files may have moved, or say something else by now.

After a restart of the machine the containers are there, and nothing around them: their networks are made
again, their namespaces and links, and what the name services know.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from compose.errors import StateError
from compose.plan.target import Target, Wanted, WantedNetwork
from compose.runtime import records
from compose.runtime.supervision.monitor.restart import wanted as is_restarted

from . import files, networks, service_record

if TYPE_CHECKING:
    from collections.abc import Collection

    from compose.runtime.spec import ContainerSpec, ContainerState
    from compose.state.index import ContainerRow, Index, NetworkRow
    from compose.state.paths import Paths

    from .context import Context


def recorded_target(paths: Paths, index: Index, project: str) -> Target:
    """The services and networks of the containers that a project has; damaged records are left out."""
    by_id = {row.id: row for row in index.networks()}
    services: dict[str, Wanted] = {}
    used: dict[str, WantedNetwork] = {}
    for row in index.containers(project):
        config = service_record.read(paths, row.id)
        try:
            spec = records.read_spec(paths, row.id)
        except StateError:
            continue
        if not row.oneoff:
            wanted = Wanted(row.service, config, row.config_hash, spec.get("image_name", ""))
            services.setdefault(row.service, wanted)
        for endpoint in spec.get("endpoints") or ():
            network = by_id.get(endpoint["network"])
            if network is not None:
                key = _key_of(network, project)
                external = network.project != project
                used[key] = WantedNetwork(key, network.name, network.config_hash, external)
    return Target(project, tuple(services.values()), used, {})


def _key_of(network: NetworkRow, project: str) -> str:
    """A name for a network in the target: only its owner has a key for it."""
    return network.key if network.project == project else network.name


async def reconnect(context: Context, name: str) -> None:
    """Furnish the network namespace of a container whose own is gone; its names and addresses stay."""
    row = context.row(name)
    spec = records.read_spec(context.paths, row.id)
    wanted = _wanted(context, row, spec)
    by_id = {one.id: one for one in context.index.networks()}
    for endpoint in spec.get("endpoints") or ():
        network = by_id.get(endpoint["network"])
        if network is None:
            raise StateError(
                f"container {name}: its network is gone", hint=f"pycompose -p {context.name} up -d"
            )
        _write_names(context, row, wanted, network, endpoint.get("key") or network.key)
    if spec.get("network_namespace") == context.paths.container_namespace(row.id):
        await networks.connect(context, wanted, spec)


def _wanted(context: Context, row: ContainerRow, spec: ContainerSpec) -> Wanted:
    """What a container was made from."""
    config = service_record.read(context.paths, row.id)
    return Wanted(row.service, config, row.config_hash, spec.get("image_name", ""))


def _write_names(context: Context, row: ContainerRow, wanted: Wanted, network: NetworkRow, key: str) -> None:
    if key in (wanted.config.get("networks") or {}):
        networks.write_names(context, wanted, network, key, row.name, row.id, networks.slot_of(row))


def restore_names(context: Context, changing: Collection[str]) -> None:
    """Tell the name services again of the containers that stay as they are, where the run directory was
    deleted. Those that are `changing`, by name, tell it themselves; damaged records are told of elsewhere."""
    assert context.target is not None
    there = context.index.containers(context.name)
    staying = {networks.slot_of(row): row for row in there if row.name not in changing}
    for wanted in context.target.networks.values():
        network = context.index.network_named(wanted.name)
        if network is None or not staying:
            continue
        told = networks.told(context.paths, network.id)
        for place in context.index.endpoints(network.id):
            if place in staying and place not in told:
                with contextlib.suppress(StateError):
                    _restore(context, staying[place], network)


def _restore(context: Context, row: ContainerRow, network: NetworkRow) -> None:
    spec = records.read_spec(context.paths, row.id)
    for endpoint in spec.get("endpoints") or ():
        if endpoint["network"] == network.id:
            key = endpoint.get("key") or network.key
            _write_names(context, row, _wanted(context, row, spec), network, key)


class Verdict:
    """What the next boot does with a container."""

    __slots__ = ("comes_back", "reason", "row")

    def __init__(self, row: ContainerRow, *, comes_back: bool, reason: str) -> None:
        self.row = row
        self.comes_back = comes_back
        self.reason = reason


def verdict(paths: Paths, row: ContainerRow) -> Verdict:
    """Whether a container is brought back after a restart of the machine, and why in words."""
    try:
        spec = records.read_spec(paths, row.id)
        state = records.recorded_state(paths, row.id)
    except StateError as error:
        return Verdict(row, comes_back=False, reason=str(error))
    reason = _why_not(spec, state)
    if not reason and files.are_lost(paths, spec):
        reason = "its files were lost when the power was cut: pycompose up -d"
    return Verdict(row, comes_back=not reason, reason=reason or f"restart: {spec['restart']['name']}")


def _why_not(spec: ContainerSpec, state: ContainerState) -> str:
    """Why a container is not brought back, or "".

    As Docker does it, but for `always`: what was stopped by hand stays stopped under that policy too.
    """
    policy = spec.get("restart") or {"name": "no", "max_attempts": 0}
    if policy["name"] == "no":
        return "restart: no"
    if state.get("stopped_by_user"):
        return "stopped by hand"
    ran = state.get("status") in records.RUNNING
    if not ran and not state.get("resume_at_boot"):
        return f"it was {state.get('status', 'created')}"
    code = state.get("exit_code")
    if not is_restarted(policy, code, state.get("restart_attempts", 0), stopped_by_user=False):
        return f"restart: {policy['name']}, and it had exited ({code})"
    return ""


def is_down(paths: Paths, row: ContainerRow) -> bool:
    """Whether nothing of a container runs that `verdict` would bring back."""
    return records.read_state(paths, row.id).get("status") not in records.RUNNING
