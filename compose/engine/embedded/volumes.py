"""Volumes of a project: the directory goes first, the row last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread

if TYPE_CHECKING:
    from .context import Context


async def remove(context: Context, name: str) -> None:
    """Remove a volume and its content."""
    await anyio.to_thread.run_sync(context.volumes.remove, name)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM volumes WHERE name = ?", (name,))
