"""Removing one container, whole or half-made."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from compose.errors import StateError
from compose.linux.beneath import remove_path
from compose.runtime import records
from compose.runtime.spec import STATE_FILE
from compose.state import events

from . import networks, quota, volumes
from .lifecycle import stop_now
from .rows import container_row
from .threads import in_thread

if TYPE_CHECKING:
    from compose.plan.actions import CreateContainer
    from compose.state.index import ContainerRow

    from .context import Context


async def remove(
    context: Context, row: ContainerRow, *, with_volumes: bool, successor: CreateContainer | None = None
) -> None:
    """Remove a container, whole or half-made, running or not; the row goes last, also so that a full disk has
    room for that again.

    A `successor` gets its address and, unless it wants fresh ones, its anonymous volumes; it is written down
    in the same moment, so that there is always somebody who has them.
    """
    spec = records.find_spec(context.paths, row.id)
    with contextlib.suppress(StateError):  # damaged records; whatever runs has been stopped even so
        await in_thread(stop_now, context, row, 0, False)
    if spec is not None and spec.get("cgroup_parent"):
        from compose.runtime.supervision import leftovers

        await in_thread(leftovers.remove_of_container, context.paths, spec)
    await in_thread(_spoil, context, row)
    keep_address = successor is not None and _wants_address(context, row)
    await networks.disconnect(context, row, spec, keep_address=keep_address)
    await in_thread(_remove_files, context, row)
    unused = volumes.unused(context, row, spec) if with_volumes else []
    for name in unused:
        await in_thread(context.volumes.remove, name)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM containers WHERE id = ?", (row.id,))
        if not keep_address:
            transaction.execute("DELETE FROM endpoints WHERE slot = ?", (networks.slot_of(row),))
        transaction.executemany("DELETE FROM volumes WHERE name = ?", [(name,) for name in unused])
        if successor is not None:
            transaction.execute(*container_row(context, successor))
            if not successor.fresh_volumes:
                new = context.identities[successor.target]
                transaction.execute("UPDATE volumes SET container = ? WHERE container = ?", (new, row.id))
    if spec is not None:
        events.record(context.paths, spec, "destroy")


def _wants_address(context: Context, row: ContainerRow) -> bool:
    """Whether a container of the service and number is wanted; its name may have gone to another one."""
    services = context.target.services if context.target is not None else ()
    return any(row.service == wanted.name and row.number <= wanted.scale for wanted in services)


def _spoil(context: Context, row: ContainerRow) -> None:
    """Make a container half-made, so that nobody starts what a killed removal has left of it."""
    remove_path(f"{context.paths.container(row.id)}/{STATE_FILE}")  # whatever lies there


def _remove_files(context: Context, row: ContainerRow) -> None:
    quota.release(context.paths.container(row.id))
    for directory in (context.paths.container_run(row.id), context.paths.container(row.id)):
        remove_path(directory)
