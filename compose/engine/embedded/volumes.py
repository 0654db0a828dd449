"""Volumes of a project: the directory goes first, the row last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import StateError
from compose.runtime import records
from compose.runtime.spec import SPEC_FILE

from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.plan.actions import CreateVolume
    from compose.runtime.spec import ContainerSpec
    from compose.state.index import ContainerRow

    from .context import Context


def local_options(definition: Mapping[str, Any]) -> Mapping[str, str]:
    """The ``driver_opts`` that are for us; of another driver the file has been warned of."""
    ours = definition.get("driver") in (None, "", "local")
    return (definition.get("driver_opts") or {}) if ours else {}


def create(context: Context, action: CreateVolume) -> None:
    """Make a volume as its definition says."""
    assert context.project is not None
    context.volumes.define(action.target, local_options(context.project.volumes[action.key]))


def mount(context: Context, spec: ContainerSpec | None) -> None:
    """Mount again what a restart of the machine has taken from a container's volumes."""
    for use in (spec or {}).get("volumes") or ():
        context.volumes.mount(use["name"])


def release(context: Context) -> None:
    """Unmount what is mounted for volumes that no container has any more."""
    used = [used_by(context, row) for row in context.index.containers()]
    known = [had for had in used if had is not None]
    if len(known) == len(used):
        context.volumes.release(frozenset().union(*known))


async def remove(context: Context, name: str) -> None:
    """Remove a volume and its content."""
    await in_thread(context.volumes.remove, name)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM volumes WHERE name = ?", (name,))


def unused(context: Context, row: ContainerRow, spec: ContainerSpec | None) -> list[str]:
    """The anonymous volumes that nobody has any more, now that the files of a container are gone.

    They are its own, and those that it had from a container that went before it (``volumes_from``). Of
    several that go at once the last one finds them.
    """
    had = {use["name"] for use in (spec or {}).get("volumes") or ()}
    found = [
        volume.name
        for volume in context.index.volumes()
        if volume.container == row.id
        or (volume.container and volume.name in had and records.is_half_made(context.paths, volume.container))
    ]
    return _without_used(context, found, row.id) if found else []


def _without_used(context: Context, found: list[str], owner: str) -> list[str]:
    """Those volumes that no container but the `owner` has; none, of which the user is told, where a damaged
    record may hide one, unless that goes as well."""
    used: set[str] = set()
    for row in context.index.containers():
        if row.id == owner:
            continue
        had = used_by(context, row)
        if had is None and row.name not in context.leaving:
            context.warn(f"anonymous volumes stay: {unreadable(context, row)}")
            return []
        used |= had or frozenset()
    return [name for name in found if name not in used]


def used_by(context: Context, row: ContainerRow) -> frozenset[str] | None:
    """The names of a container's volumes, none of one that is half-made; None where its record is damaged:
    it may use any. Each spec.json is read once a command, since none changes."""
    found = context.volumes_of.get(row.id)
    if found is None:
        if records.is_half_made(context.paths, row.id):
            return frozenset()
        try:
            spec = records.read_spec(context.paths, row.id)
        except StateError:
            return None
        found = frozenset(use["name"] for use in spec.get("volumes") or ())
        context.volumes_of[row.id] = found
    return found


def unreadable(context: Context, row: ContainerRow) -> str:
    """What to say of a container that may use anything, since its record is damaged."""
    record = f"{context.paths.container(row.id)}/{SPEC_FILE}"
    return (
        f"container {row.name}, whose record {record} is damaged and may name any;"
        f" 'pycompose -p {row.project} up -d' makes that container anew, 'rm -sf {row.service}' removes it"
    )
