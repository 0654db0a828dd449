"""``pycompose logs --follow``: also of containers that are started meanwhile."""

from __future__ import annotations

import os

from compose.cli.logs import label
from compose.runtime.logs import Follower
from compose.state import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compose.cli.scope import Scope
    from compose.state.index import ContainerRow
    from compose.ui.logs import LogPrinter


def follow_project(
    scope: Scope,
    printer: LogPrinter,
    rows: Sequence[ContainerRow],
    wanted: Callable[[ContainerRow], bool],
    *,
    tail: int | None,
    since: int,
    until: int,
) -> None:
    """Print lines of `rows`, and of `wanted` containers that are started later, until none runs any more."""
    news = events.Reader(scope.paths, scope.name, from_now=True)
    follower = Follower(scope.paths)
    reached: dict[str, int] = {}
    try:
        for row in rows:
            if os.path.isdir(scope.paths.container(row.id)):
                follower.add(label(scope.name, row), row.id, tail=tail, since=since, until=until)
        while not follower.finished():
            for key, time_ns, _stream, line in follower.wait():
                printer.line(key, time_ns, line)
                reached[key] = time_ns
            started = {event["id"] for event in news.read() if event["action"] == "start"}
            for row in _rows(scope, started):
                key = label(scope.name, row)
                if wanted(row) and key not in follower.following():
                    follower.add(key, row.id, since=reached.get(key, since - 1) + 1, until=until)
    finally:
        follower.close()
        news.close()


def _rows(scope: Scope, identities: set[str]) -> list[ContainerRow]:
    if not identities:
        return []
    scope.refresh()
    rows = [row for row in scope.rows if row.id in identities]
    return [row for row in rows if os.path.isdir(scope.paths.container(row.id))]
