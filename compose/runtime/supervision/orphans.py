"""Containers that nobody watches, because their monitors were killed together with the keeper."""

from __future__ import annotations

import os

from compose.errors import StateError
from compose.runtime import records
from compose.runtime.supervision import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.state.paths import Paths


def of_project(paths: Paths, project: str) -> list[str]:
    """The ids of containers of a project that count as running and have no monitor.

    Found by the run-time directories that their monitors have left. Damaged records are for those who ask.
    """
    try:
        names = os.listdir(f"{paths.run}/containers")
    except FileNotFoundError:
        return []
    return [name for name in names if _is_orphan(paths, project, name)]


def _is_orphan(paths: Paths, project: str, identity: str) -> bool:
    try:
        if hold.is_held(paths.container(identity)):
            return False
        state = records.recorded_state(paths, identity)
        if state.get("status") not in records.RUNNING:
            return False
        return records.read_spec(paths, identity).get("project") == project
    except StateError:
        return False
