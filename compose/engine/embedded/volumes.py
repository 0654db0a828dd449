"""Volumes of a project: the directory goes first, the row last."""

from __future__ import annotations

import contextlib
import os
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
    context.volumes.release(_used(context, ""))


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
        or (volume.container and volume.name in had and not _has_files(context, volume.container))
    ]
    used = _used(context, row.id) if found else set()
    return [name for name in found if name not in used]


def _has_files(context: Context, identity: str) -> bool:
    return os.path.exists(f"{context.paths.container(identity)}/{SPEC_FILE}")


def _used(context: Context, but: str) -> set[str]:
    names: set[str] = set()
    for row in context.index.containers():
        if row.id != but and _has_files(context, row.id):
            names |= _volumes_of(context, row.id)
    return names


def _volumes_of(context: Context, identity: str) -> frozenset[str]:
    """The volumes of a container; each spec.json is read once a command, since none changes."""
    found = context.volumes_of.get(identity)
    if found is None:
        found = frozenset()
        with contextlib.suppress(StateError):
            spec = records.read_spec(context.paths, identity)
            found = frozenset(use["name"] for use in spec.get("volumes") or ())
            context.volumes_of[identity] = found
    return found
