"""What netd does for its project when the keeper has died: it may be the only helper that is left.

It sees to it that there is a keeper, and gives that one what nobody else has given it: the listeners and name
sockets of containers whose monitors were killed together with the former one.
"""

from __future__ import annotations

from compose.errors import ComposeError
from compose.runtime import records
from compose.runtime.supervision import asking, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from compose.state.paths import Paths


def give_back(paths: Paths, project: str, held: Mapping[str, Sequence[int]]) -> bool:
    """Start a keeper where there is none, and let it hold what it lacks; False: try again later."""
    try:
        spawn.ensure_successor(paths, project)
        there = set(asking.held_names(paths, project))
        missing = {
            name: numbers for name, numbers in held.items() if name not in there and _runs(paths, name)
        }
        asking.put_all(paths, project, missing)
    except (ComposeError, OSError):
        return False
    return True


def _runs(paths: Paths, name: str) -> bool:
    """Whether the container runs whose id is in a name; what a stopped one had was dropped by its monitor."""
    identity = name.split("/")[1]
    try:
        return records.recorded_state(paths, identity).get("status") in records.RUNNING
    except ComposeError:
        return False
