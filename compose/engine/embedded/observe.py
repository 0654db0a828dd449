"""One snapshot of what is there of a project: the index, the state files, and what the kernel shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.errors import StateError
from compose.plan.observed import Observed, ObservedContainer, ObservedNetwork, ObservedVolume
from compose.runtime.records import read_spec, read_state
from compose.runtime.spec import STATE_FILE, health_of

from . import files, networks, service_record, volumes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compose.runtime.spec import ContainerSpec
    from compose.state.index import ContainerRow

    from .context import Context


def observe(context: Context) -> Observed:
    """The snapshot. A damaged record of one container makes that container "not whole", nothing more."""
    name = context.name
    rows = context.index.containers(name)
    hashes = None
    if context.target is not None:
        hashes = {service.name: service.config_hash for service in context.target.services}
    names = {row.id: row.name for row in context.index.networks()}
    containers = tuple(_container(context, row, hashes, names) for row in rows)
    return Observed(
        containers,
        _networks(context),
        _volumes(context),
        images_of(context),
        sandbox=os.path.exists(context.paths.project_run(name))
        or os.path.exists(context.paths.project_namespace(name)),
        recorded=context.index.project(name) is not None,
        external_volumes=_external_volumes(context),
        lost=_lost(context),
    )


def _container(
    context: Context, row: ContainerRow, hashes: Mapping[str, str] | None, network_names: Mapping[str, str]
) -> ObservedContainer:
    directory = context.paths.container(row.id)
    found = ObservedContainer(
        row.name, row.service, row.number, "dead", row.config_hash, row.image, row.oneoff, whole=False
    )
    try:
        spec = read_spec(context.paths, row.id)
        state = read_state(context.paths, row.id, context.revival.bring_back)
        lost = files.are_lost(context.paths, spec)
    except StateError:
        return found._replace(volumes=volumes.used_by(context, row))
    config = None
    if hashes is not None and hashes.get(row.service) != row.config_hash:
        config = service_record.find(context.paths, row.id)
    own = "" if "network" in (spec.get("shared") or {}) else spec.get("network_namespace")
    return found._replace(
        status=state.get("status", "created"),
        health=health_of(state) or None,
        exit_code=state.get("exit_code"),
        auto_remove=bool(spec.get("auto_remove")),
        whole=os.path.exists(f"{directory}/{STATE_FILE}") and not lost,
        connected=not own or networks.is_pinned(own),
        config=config,
        networks=frozenset(network_names.get(one["network"], "") for one in spec.get("endpoints") or ()),
        shares=_shares(context, spec),
        lenders=_lenders(context, spec),
        contents=spec.get("contents"),
        mounted_images=frozenset(one["image"] for one in spec["oci"].get("mounts") or () if "image" in one),
        volumes=frozenset(use["name"] for use in spec.get("volumes") or () if not use.get("anonymous")),
    )


def _shares(context: Context, spec: ContainerSpec) -> dict[str, str]:
    shared = spec.get("shared")
    if not shared:
        return {}
    names = {row.id: row.name for row in context.index.containers()}
    return {kind: names.get(identity, "") for kind, identity in shared.items()}


def _lenders(context: Context, spec: ContainerSpec) -> frozenset[str]:
    identities = spec.get("lenders")
    if not identities:
        return frozenset()
    names = {row.id: row.name for row in context.index.containers()}
    return frozenset(names.get(identity, "") for identity in identities)


def _networks(context: Context) -> tuple[ObservedNetwork, ...]:
    return tuple(
        ObservedNetwork(
            row.key,
            row.name,
            row.config_hash,
            whole=networks.is_whole(context.paths, row),
            users=_foreign_users(context, row.id),
        )
        for row in context.index.networks(context.name)
    )


def _lost(context: Context) -> frozenset[str]:
    if context.target is None:
        return frozenset()
    names = [network.name for network in context.target.networks.values() if network.external]
    rows = [row for row in map(context.index.network_named, names) if row is not None]
    return frozenset(row.name for row in rows if not networks.is_whole(context.paths, row))


def _foreign_users(context: Context, network: str) -> tuple[str, ...]:
    """Containers of other projects on a network, by their slots ``project.service.number``."""
    slots = context.index.endpoints(network)
    return tuple(sorted(slot for slot in slots if slot.partition(".")[0] != context.name))


def _external_volumes(context: Context) -> frozenset[str]:
    if context.target is None:
        return frozenset()
    names = [volume.name for volume in context.target.volumes.values() if volume.external]
    return frozenset(name for name in names if context.index.volume_named(name) is not None)


def _volumes(context: Context) -> tuple[ObservedVolume, ...]:
    """The project's named volumes, and anonymous ones whose containers are gone."""
    containers = {row.id for row in context.index.containers(context.name)}
    rows = [row for row in context.index.volumes(context.name) if row.container not in containers]
    if not rows:
        return ()
    used = _volumes_of_others(context, {row.name for row in rows})
    return tuple(
        ObservedVolume(
            "" if row.container else row.key,
            row.name,
            row.config_hash,
            tuple(sorted(used.get(row.name, ()))),
        )
        for row in rows
    )


def _volumes_of_others(context: Context, names: set[str]) -> dict[str, list[str]]:
    """Volume -> the containers of other projects that use it, or may use it."""
    used: dict[str, list[str]] = {}
    for row in context.index.containers():
        if row.project == context.name:
            continue
        had = volumes.used_by(context, row)
        for name in names if had is None else names & had:
            used.setdefault(name, []).append(
                row.name if had is not None else volumes.unreadable(context, row)
            )
    return used


def images_of(context: Context) -> dict[str, str]:
    """Image name -> id, for the names that the project uses and that are in the store."""
    if context.target is None:
        return {}
    found = {}
    for name in sorted({name for service in context.target.services for name in service.images}):
        image = context.images.find(name)
        if image is not None:
            found[name] = image.id
    return found
