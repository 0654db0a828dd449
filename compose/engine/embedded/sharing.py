"""Whose namespaces or mounts a container has: ``service:NAME`` and ``container:NAME`` -> a container's id.

A service stands for its first container, as with docker compose. Whoever shares a network with a container
that has it from a third one is led to that one: its namespace is pinned and outlives restarts.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import PlanError, StateError
from compose.runtime import records

from .spec.lending import lenders, lent, take_over
from .spec.namespaces import mode, shares

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .context import Context
    from .spec.mounts import Mounts
    from .spec.namespaces import Share


class Owner(NamedTuple):
    """The container whose network another one has, seen through all that stand between."""

    id: str
    hostname: str
    namespace: str
    """Path that pins the network namespace; empty: the host's."""


def owners(context: Context, service: Mapping[str, Any]) -> dict[str, str]:
    """The ids of the containers whose namespaces a service's containers have, by kind. Raises `PlanError`."""
    return {share.kind: _identity(context, share) for share in shares(service)}


def network_owner(context: Context, service: Mapping[str, Any]) -> Owner | None:
    """Whose network a service's containers have; None for their own or the host's. Raises `PlanError`."""
    share = next((one for one in shares(service) if one.kind == "network"), None)
    if share is None:
        return None
    identity = _identity(context, share)
    if share.service:
        assert context.project is not None
        config = context.project.services[share.service]
        return network_owner(context, config) or Owner(
            identity, hostname_of(config, identity), _namespace(context, config, identity)
        )
    spec = records.read_spec(context.paths, identity)
    path = spec.get("network_namespace") or ""
    owner = (spec.get("shared") or {}).get("network") or identity
    return Owner(owner, str(spec["oci"].get("hostname") or socket.gethostname()), path)


def lender_ids(context: Context, service: Mapping[str, Any]) -> list[str]:
    """The ids of the containers that ``volumes_from`` names, in its order. Raises `PlanError`."""
    return [identity(context, "volumes_from", one.service, one.container) for one in lenders(service)]


def borrow(context: Context, service: Mapping[str, Any], found: Mounts) -> None:
    """Take over the mounts of the containers that ``volumes_from`` names; the last one wins over the others.

    Raises `PlanError` and `StateError`: they must be there and whole.
    """
    pairs = zip(lenders(service), lender_ids(context, service), strict=True)
    for lender, lender_id in reversed(list(pairs)):
        spec = records.read_spec(context.paths, lender_id)
        take_over(found, lent(spec, read_only=lender.read_only))


def hostname_of(service: Mapping[str, Any], identity: str) -> str:
    """The service's host name; the host's own where its name or network is used; else the id's beginning."""
    if service.get("hostname"):
        return str(service["hostname"])
    if mode(service, "network_mode") == "host" or mode(service, "uts") == "host":
        return socket.gethostname()
    return identity[:12]


def check(context: Context, name: str) -> None:
    """Refuse what is not there to be shared, before anything is made. Raises `PlanError`."""
    assert context.project is not None
    try:
        lender_ids(context, context.project.services[name])
    except PlanError as error:
        at = context.project.where(("services", name, "volumes_from"))
        raise PlanError(f"{at}: service {name}: {error.message}", hint=error.hint) from None
    for share in shares(context.project.services[name]):
        try:
            identity = _identity(context, share)
            if share.kind == "ipc" and not _is_shareable(context, share, identity):
                owner = share.service or share.container
                raise PlanError(
                    f"ipc: the ipc namespace of {owner} is its own", hint=f"add 'ipc: shareable' to {owner}"
                )
        except PlanError as error:
            at = context.project.where(("services", name, share.key))
            raise PlanError(f"{at}: service {name}: {error.message}", hint=error.hint) from None


def check_external_links(context: Context, name: str) -> None:
    """Refuse a link to a container that is not there, or that is in no network of the service."""
    assert context.project is not None and context.target is not None
    service = context.project.services[name]
    keys = service.get("networks") or {}
    rows = [context.index.network_named(context.target.networks[key].name) for key in keys]
    own = {row.id for row in rows if row is not None}
    for link in service.get("external_links") or ():
        container = str(link).partition(":")[0]
        other = _of_name(context, container)
        at = context.project.where(("services", name, "external_links"))
        if not other:
            raise PlanError(
                f"{at}: service {name}: external_links: there is no container {container}",
                hint="start it first; a service of this project is named in links",
            )
        with contextlib.suppress(StateError):
            endpoints = records.read_spec(context.paths, other).get("endpoints") or ()
            if not own & {endpoint["network"] for endpoint in endpoints}:
                raise PlanError(
                    f"{at}: service {name}: external_links: {container} is in none of its networks",
                    hint="join a network of that container with 'external: true'",
                )


def _is_shareable(context: Context, share: Share, identity: str) -> bool:
    assert context.project is not None
    if share.service:
        value = str(context.project.services[share.service].get("ipc") or "")
        return value in ("shareable", "host") or ":" in value
    try:
        spec = records.read_spec(context.paths, identity)
    except StateError:
        return False
    return bool(spec.get("ipc_shareable"))


def _namespace(context: Context, service: Mapping[str, Any], identity: str) -> str:
    return "" if mode(service, "network_mode") == "host" else context.paths.container_namespace(identity)


def _identity(context: Context, share: Share) -> str:
    return identity(context, share.key, share.service, share.container)


def identity(context: Context, key: str, service: str, container: str) -> str:
    """The id of the first container of `service`, or of the one called `container`. Raises `PlanError`."""
    found = _of_service(context, service) if service else _of_name(context, container)
    if found:
        return found
    who = f"service {service} has no container" if service else f"there is no container {container}"
    hint = f"start {service} as well" if service else "start it first, or name a service of this file"
    raise PlanError(f"{key}: {who} to share with", hint=hint)


def _of_service(context: Context, service: str) -> str:
    """The id of the first container of a service: that of the plan, else the one that is there."""
    wanted = next(
        (one for one in (context.target.services if context.target else ()) if one.name == service), None
    )
    if wanted is not None:
        name = wanted.container(context.name, 1)
        if name in context.identities:
            return context.identities[name]
    rows = [
        row for row in context.index.containers(context.name) if row.service == service and not row.oneoff
    ]
    return min(rows, key=lambda row: row.number).id if rows else ""


def _of_name(context: Context, name: str) -> str:
    row = context.index.container_named(name)
    if row is not None:
        return row.id
    ids = [row.id for row in context.index.containers() if row.id.startswith(name)]
    return ids[0] if len(ids) == 1 and len(name) >= 12 else ""
