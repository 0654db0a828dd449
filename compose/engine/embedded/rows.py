"""What the index says of one container."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compose.plan.actions import CreateContainer

    from .context import Context


def new_identity() -> str:
    """A container's id: 64 hexadecimal digits."""
    return os.urandom(32).hex()


def container_row(context: Context, action: CreateContainer) -> tuple[str, tuple[object, ...]]:
    """The statement that writes a container down."""
    wanted = context.wanted(action.service)
    image = context.images.find(wanted.image)
    values = (
        context.identities[action.target],
        action.target,
        context.name,
        action.service,
        action.number,
        int(action.oneoff),
        wanted.config_hash,
        image.id if image is not None else "",
        time.time_ns(),
    )
    return "INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values


def anonymous_volumes(context: Context, identity: str) -> dict[str, str]:
    """Target -> name of a container's anonymous volumes, by the index: they outlive its spec.json."""
    rows = context.index.volumes(context.name)
    return {row.key: row.name for row in rows if row.container == identity}
