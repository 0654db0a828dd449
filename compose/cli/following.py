"""Logs of a project's containers as they are written: ``pycompose logs --follow``, and an attached ``up``.

Containers that are started meanwhile are followed as well. So are those that another command makes anew:
while it is at work, it does not matter that none runs for a moment.
"""

from __future__ import annotations

import contextlib
import os
import time

from compose.cli.log_lines import label
from compose.runtime.output.follower import Follower
from compose.state import events
from compose.state.index import Index
from compose.state.lock import is_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from compose.runtime.supervision.revival import Revival
    from compose.state.index import ContainerRow
    from compose.state.paths import Paths
    from compose.ui.logs import LogPrinter

_WHILE_CHANGED = 0.1
"""Seconds after which the project is looked at again while a command changes it and nothing runs."""


def _every(_row: ContainerRow) -> bool:
    return True


class Following:
    """Prints lines as they come."""

    def __init__(
        self,
        paths: Paths,
        project: str,
        printer: LogPrinter,
        wanted: Callable[[ContainerRow], bool],
        *,
        shown: Callable[[ContainerRow], bool] = _every,
        ended: Callable[[str, ContainerRow], None] | None = None,
        since: int = 0,
        until: int = 0,
    ) -> None:
        """`wanted` says which containers to follow that are started later, and `shown` whose lines to print;
        `ended` hears label and row of each that has ended. `since` and `until` are in nanoseconds."""
        self._paths = paths
        self._project = project
        self._printer = printer
        self._wanted = wanted
        self._shown = shown
        self._ended = ended
        self._since = since
        self._until = until
        self._revival: Revival | None = None
        self._news = events.Reader(paths, project, from_now=True)
        self._follower = Follower(paths)
        self._rows: dict[str, ContainerRow] = {}
        self._started: dict[str, ContainerRow] = {}
        self._reached: dict[str, int] = {}

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_error: object) -> None:
        self._follower.close()
        self._news.close()

    def add(self, rows: Iterable[ContainerRow], *, tail: int | None = None) -> None:
        """Follow these from the beginning, or from the last `tail` lines on."""
        for row in rows:
            if os.path.isdir(self._paths.container(row.id)):
                self._follow(row, tail=tail, since=self._since)

    def run(self, awaited: Callable[[ContainerRow], bool] = _every) -> None:
        """Print until every container that is `awaited` has ended, and nobody is about to start one."""
        while self._goes_on(awaited):
            before = self._follower.following()
            for key, time_ns, _stream, line in self._follower.wait():
                if self._shown(self._rows[key]):
                    self._printer.line(key, time_ns, line)
                self._reached[key] = time_ns
            self._revive()
            for key in sorted(before - self._follower.following()):
                if self._ended is not None:
                    self._ended(key, self._rows[key])
            self._look_for_started()

    def _revive(self) -> None:
        """Bring back helpers that were all killed while we follow what their containers write."""
        for identity in self._follower.unwatched():
            from compose.runtime.supervision.revival import Revival

            if self._revival is None:
                self._revival = Revival(self._paths, self._project)
            self._revival.bring_back(identity)

    def _goes_on(self, awaited: Callable[[ContainerRow], bool]) -> bool:
        while True:
            if any(awaited(self._rows[key]) for key in self._follower.following()):
                return True
            changing = is_held(self._paths, self._project)
            if self._look_for_started():
                continue
            if not changing:
                return False
            time.sleep(_WHILE_CHANGED)

    def _look_for_started(self) -> bool:
        """Follow what has been started since the last time; whether there was anything."""
        identities = {event["id"] for event in self._news.read() if event["action"] == "start"}
        if identities:
            with contextlib.closing(Index(self._paths)) as index:
                rows = [row for row in index.containers(self._project) if row.id in identities]
            self._started.update({label(self._project, row): row for row in rows if self._wanted(row)})
        found = False
        for key, row in list(self._started.items()):
            followed = key in self._follower.following()
            if followed and self._rows[key].id != row.id:  # the last words of the one before come first
                continue
            del self._started[key]
            if not followed and os.path.isdir(self._paths.container(row.id)):
                self._follow(row, tail=None, since=self._reached.get(key, self._since - 1) + 1)
                found = True
        return found

    def _follow(self, row: ContainerRow, *, tail: int | None, since: int) -> None:
        key = label(self._project, row)
        self._rows[key] = row
        self._follower.add(key, row.id, tail=tail, since=since, until=self._until)
