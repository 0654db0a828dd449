"""One snapshot of what is there of a project: the index, the state files, and what the kernel shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.errors import StateError
from compose.plan.observed import Observed, ObservedContainer, ObservedNetwork, ObservedVolume
from compose.runtime.client import read_state
from compose.runtime.spec import SPEC_FILE, STATE_FILE, health_of
from compose.state.files import read_json

from .context import SERVICE_FILE

if TYPE_CHECKING:
    from compose.runtime.spec import ContainerSpec
    from compose.state.index import ContainerRow, NetworkRow

    from .context import Context


def observe(context: Context) -> Observed:
    """The snapshot. A damaged record of one container makes that container "not whole", nothing more."""
    name = context.name
    rows = context.index.containers(name)
    hashes = {}
    if context.target is not None:
        hashes = {service.name: service.config_hash for service in context.target.services}
    containers = tuple(_container(context, row, hashes.get(row.service)) for row in rows)
    return Observed(
        containers,
        _networks(context),
        _volumes(context),
        _images(context),
        sandbox=os.path.exists(context.paths.project_run(name))
        or os.path.exists(context.paths.project_namespace(name)),
        recorded=context.index.project(name) is not None,
        lost=_lost(context),
    )


def _container(context: Context, row: ContainerRow, wanted_hash: str | None) -> ObservedContainer:
    directory = context.paths.container(row.id)
    found = ObservedContainer(
        row.name, row.service, row.number, "dead", row.config_hash, row.image, row.oneoff, whole=False
    )
    try:
        spec: ContainerSpec = read_json(f"{directory}/{SPEC_FILE}")
        state = read_state(context.paths, row.id)
    except (OSError, ValueError, StateError):
        return found
    config = None
    if wanted_hash is not None and wanted_hash != row.config_hash:
        try:
            config = read_json(f"{directory}/{SERVICE_FILE}")
        except (OSError, ValueError):
            config = None
    namespace = spec.get("network_namespace")
    return found._replace(
        status=state.get("status", "created"),
        health=health_of(state) or None,
        exit_code=state.get("exit_code"),
        whole=os.path.exists(f"{directory}/{STATE_FILE}"),
        connected=not namespace or _pinned(namespace),
        config=config,
    )


def _pinned(path: str) -> bool:
    """Whether a namespace is pinned at `path`: then it lies on another file system than its directory."""
    try:
        return os.stat(path).st_dev != os.stat(os.path.dirname(path)).st_dev
    except OSError:
        return False


def _networks(context: Context) -> tuple[ObservedNetwork, ...]:
    return tuple(
        ObservedNetwork(
            row.key,
            row.name,
            row.config_hash,
            whole=_is_whole(context, row),
            users=_foreign_users(context, row.id),
        )
        for row in context.index.networks(context.name)
    )


def _is_whole(context: Context, row: NetworkRow) -> bool:
    sandbox = context.paths.project_namespace(row.project)
    return _pinned(sandbox) and os.path.isdir(context.paths.network_run(row.id))


def _lost(context: Context) -> frozenset[str]:
    if context.target is None:
        return frozenset()
    names = [network.name for network in context.target.networks.values() if network.external]
    rows = [row for row in map(context.index.network_named, names) if row is not None]
    return frozenset(row.name for row in rows if not _is_whole(context, row))


def _foreign_users(context: Context, network: str) -> tuple[str, ...]:
    """Containers of other projects on a network, by their slots ``project.service.number``."""
    slots = context.index.endpoints(network)
    return tuple(sorted(slot for slot in slots if slot.partition(".")[0] != context.name))


def _volumes(context: Context) -> tuple[ObservedVolume, ...]:
    rows = [row for row in context.index.volumes(context.name) if not row.container]
    if not rows:
        return ()
    used = _volumes_of_others(context, {row.name for row in rows})
    return tuple(
        ObservedVolume(row.key, row.name, row.config_hash, tuple(sorted(used.get(row.name, ()))))
        for row in rows
    )


def _volumes_of_others(context: Context, names: set[str]) -> dict[str, list[str]]:
    used: dict[str, list[str]] = {}
    for row in context.index.containers():
        if row.project == context.name:
            continue
        try:
            spec: ContainerSpec = read_json(f"{context.paths.container(row.id)}/{SPEC_FILE}")
        except (OSError, ValueError):
            continue
        for use in spec.get("volumes") or ():
            if use["name"] in names:
                used.setdefault(use["name"], []).append(row.name)
    return used


def _images(context: Context) -> dict[str, str]:
    if context.target is None:
        return {}
    found = {}
    for name in sorted({service.image for service in context.target.services}):
        image = context.images.find(name)
        if image is not None:
            found[name] = image.id
    return found
