"""Volumes of a project: the directory goes first, the row last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .threads import in_thread

if TYPE_CHECKING:
    from .context import Context


async def remove(context: Context, name: str) -> None:
    """Remove a volume and its content."""
    await in_thread(context.volumes.remove, name)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM volumes WHERE name = ?", (name,))
