"""Notices when the kernel kills a process of a container for want of memory, while the container runs on."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.loop import Loop, Timer

_LOOKS = 6
_FIRST_PAUSE = 0.02
"""Seconds; version 1 tells of the shortage before it has killed and counted."""


class MemoryWatch:
    """Calls `on_kill` once, when the group has killed more processes than `before`."""

    __slots__ = ("_before", "_cgroup", "_descriptor", "_loop", "_on_kill", "_timer")

    def __init__(self, loop: Loop, cgroup: Cgroup, before: int, on_kill: Callable[[], None]) -> None:
        self._loop = loop
        self._cgroup = cgroup
        self._before = before
        self._on_kill = on_kill
        self._timer: Timer | None = None
        self._descriptor, urgent = cgroup.open_oom_events()
        if self._descriptor >= 0:
            loop.reader(self._descriptor, self._told, urgent=urgent)
            self._look(_LOOKS)  # it may have happened before

    def close(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor >= 0:
            self._loop.forget(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _told(self) -> None:
        self._cgroup.clear_oom_events(self._descriptor)
        self._look(0)

    def _look(self, number: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._cgroup.oom_kills() > self._before:
            self.close()
            self._on_kill()
        elif number < _LOOKS:
            self._timer = self._loop.after(_FIRST_PAUSE * 2.0**number, lambda: self._look(number + 1))
