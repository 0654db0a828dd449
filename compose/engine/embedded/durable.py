"""What a command has started is started again after a power cut too: its records are on disk when it ends.

A container's state.json is written without being synced, because that would cost as many syncs as there are
containers, while the user waits. So the command syncs once, when it has started everything, and only for
those that `pycompose boot start` would bring back.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.errors import StateError
from compose.linux.files import syncfs
from compose.plan.actions import RestartContainer, StartContainer
from compose.runtime import records

if TYPE_CHECKING:
    from compose.plan.plan import Plan

    from .context import Context


def settle(context: Context, plan: Plan) -> None:
    """Sync the records of what `plan` has started, if any of it comes back after a restart of the machine."""
    actions = [operation.action for operation in plan.operations]
    started = {action.target for action in actions if isinstance(action, (StartContainer, RestartContainer))}
    if not any(_comes_back(context, name) for name in started):
        return
    descriptor = os.open(context.paths.data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(descriptor)
    except OSError as error:  # everything runs nevertheless
        why = os.strerror(error.errno or 0)
        context.warn(f"sync {context.paths.data}: {why}; after a power cut some of it may not come back")
    finally:
        os.close(descriptor)


def _comes_back(context: Context, name: str) -> bool:
    row = context.index.container_named(name)
    if row is None:
        return False
    try:
        policy = records.read_spec(context.paths, row.id).get("restart")
    except StateError:
        return False
    return policy is not None and policy["name"] != "no"
