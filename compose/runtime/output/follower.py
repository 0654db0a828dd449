"""Lines of containers as they are written.

follower = Follower(paths)
follower.add("web", identity, tail=10)
while not follower.finished():
    for key, time_ns, stream, line in follower.wait(): ...
"""

from __future__ import annotations

import os
import select
import time

from compose.errors import StateError
from compose.linux import inotify
from compose.runtime import records
from compose.runtime.output.logs import Reader
from compose.runtime.spec import STATE_FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.runtime.output.logs import KeyedLine, Line
    from compose.state.paths import Paths

_SECOND_LOOK = 2.0
"""Seconds for which nothing runs of what the record calls running, before it counts as ended."""
_MOST_AT_ONCE = 4096  # lines of a container
_LOOK_AGAIN = 1.0
"""Seconds after which a follower looks by itself: some kernels say nothing when splice(2) writes."""


class _Followed:
    """One container of a follower."""

    __slots__ = ("identity", "iterator", "reader", "suspected", "watches")

    def __init__(self, identity: str, reader: Reader, watches: list[int]) -> None:
        self.identity = identity
        self.reader = reader
        self.watches = watches
        self.iterator: Iterator[Line] | None = None
        """Lines that are there but were not given yet."""
        self.suspected = 0.0
        """When nothing was first seen to run although state.json says so."""


class Follower:
    """Lines of many containers as they are written, with one descriptor to wait for."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._inotify = inotify.Inotify()
        self._followed: dict[str, _Followed] = {}
        self._watches: dict[int, str] = {}
        self._dirty: set[str] = set()

    def add(
        self, key: str, identity: str, *, tail: int | None = None, since: int = 0, until: int = 0
    ) -> None:
        """Follow a container, which need not have been started yet, under `key`.

        Raises `StateError` when there is no such container.
        """
        directory = self._paths.container(identity)
        log = f"{directory}/log"
        try:
            os.mkdir(log, mode=0o700)
        except FileExistsError:
            pass  # it has been started before
        except FileNotFoundError:
            raise StateError(f"container {identity[:12]} does not exist") from None
        watches = [
            self._inotify.add(directory, inotify.MOVED_TO | inotify.DELETE_SELF | inotify.ONLYDIR),
            self._inotify.add(log, inotify.MODIFY | inotify.CREATE | inotify.DELETE_SELF | inotify.ONLYDIR),
        ]
        for number in watches:
            self._watches[number] = key
        reader = Reader(log, tail=tail, since=since, until=until)
        self._followed[key] = _Followed(identity, reader, watches)
        self._dirty.add(key)

    def remove(self, key: str) -> None:
        """Follow no longer."""
        followed = self._followed.pop(key, None)
        if followed is None:
            return
        followed.reader.close()
        for number in followed.watches:
            if self._watches.pop(number, None) is not None:
                self._inotify.remove(number)
        self._dirty.discard(key)

    def fileno(self) -> int:
        """Becomes readable when there is something new for `take`."""
        return self._inotify.descriptor

    def following(self) -> set[str]:
        """The keys of the containers that have not ended, or whose last lines were not given yet."""
        return set(self._followed)

    def unwatched(self) -> list[str]:
        """The ids of the containers whose monitors were dead at the last look."""
        return [followed.identity for followed in self._followed.values() if followed.suspected > 0]

    def finished(self) -> bool:
        """Whether every container has ended, and all of its lines were given."""
        return not self._followed

    def take(self) -> list[KeyedLine]:
        """Lines that have come since the last call, in the order of their times; does not wait.

        There may be more at once than it gives; then so does the next call. A container that has ended is
        followed no longer once its last line was given.
        """
        for number, mask, name in self._inotify.read():
            if mask & inotify.OVERFLOW:
                self._dirty.update(self._followed)
            key = self._watches.get(number)
            if key is not None and not name.endswith(".tmp"):
                self._dirty.add(key)
            if mask & inotify.IGNORED:
                self._watches.pop(number, None)
        found: list[KeyedLine] = []
        for key in list(self._dirty):
            found += self._lines_of(key)
        found.sort(key=lambda entry: entry[1])
        return found

    def wait(self, seconds: float | None = None) -> list[KeyedLine]:
        """`take`, after waiting until something has changed, for at most so many seconds."""
        found = self.take()
        if found or self._dirty or self.finished():
            return found
        poll = select.poll()
        poll.register(self._inotify.descriptor, select.POLLIN)
        patience = _LOOK_AGAIN if seconds is None else min(seconds, _LOOK_AGAIN)
        if not poll.poll(patience * 1000):
            self._dirty.update(self._followed)
        return self.take()

    def close(self) -> None:
        """Follow nothing any more."""
        for key in list(self._followed):
            self.remove(key)
        self._inotify.close()

    def _lines_of(self, key: str) -> list[KeyedLine]:
        """Some lines of a container, which stays dirty while there are more."""
        followed = self._followed[key]
        if followed.iterator is None:
            ended = self._has_ended(followed)  # before reading: all that it wrote is in the files then
            followed.iterator = followed.reader.all_lines() if ended else followed.reader.lines()
            followed.suspected = followed.suspected if not ended else -1.0
        found: list[KeyedLine] = []
        for line in followed.iterator:
            found.append((key, *line))
            if len(found) >= _MOST_AT_ONCE:
                return found
        followed.iterator = None
        self._dirty.discard(key)
        if followed.suspected < 0:
            self.remove(key)
        return found

    def _has_ended(self, followed: _Followed) -> bool:
        """Whether nothing more will be written; for a record that nobody keeps true, only after a second
        look."""
        directory = self._paths.container(followed.identity)
        if not os.path.exists(f"{directory}/{STATE_FILE}"):
            return not os.path.exists(directory)
        state = records.recorded_state(self._paths, followed.identity)
        if state.get("status") not in records.RUNNING:
            return state.get("status") in ("exited", "dead")
        monitor = state.get("monitor_pid", 0), state.get("monitor_start_time", 0)
        same_boot = state.get("boot_id") == records.boot_id()
        if same_boot and records.lives(*monitor):
            followed.suspected = 0.0
            return False
        now = time.monotonic()
        followed.suspected = followed.suspected or now
        process = state.get("pid", 0), state.get("start_time", 0)
        return now - followed.suspected >= _SECOND_LOOK and not (same_boot and records.lives(*process))
