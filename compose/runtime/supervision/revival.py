"""What commands do about containers that live on although all of their helpers were killed at once.

Whoever looks at such a container starts a keeper. That one gives every container of the project that nobody
watches a monitor (orphans.py), which opens ports and name sockets again (reopening.py).
"""

from __future__ import annotations

import time

from compose.errors import ComposeError
from compose.runtime import records
from compose.runtime.supervision import asking, hold, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.state.paths import Paths

_PATIENCE = 3.0
"""Seconds; a new monitor needs some hundredths of one where there is time for it."""
_PAUSE = 0.01


class Revival:
    """Brings the helpers of one project's containers back, and waits for that some seconds in all."""

    __slots__ = ("_left", "_paths", "_project")

    def __init__(self, paths: Paths, project: str, *, seconds: float = _PATIENCE) -> None:
        self._paths = paths
        self._project = project
        self._left = seconds

    def bring_back(self, identity: str) -> None:
        """Return when a container has a monitor, or has ended.

        Does nothing while the project goes down. Where it cannot be done, whoever needs a helper will say so:
        this is no reason for a command that only looks to fail.
        """
        began = time.monotonic()
        try:
            if not spawn.is_stopping(self._paths, self._project):
                spawn.ensure_again(self._paths, self._project)
                self._wait(identity, began + self._left)
        except (ComposeError, OSError):
            return
        finally:
            self._left -= time.monotonic() - began

    def _wait(self, identity: str, deadline: float) -> None:
        while records.is_unwatched(records.recorded_state(self._paths, identity)):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            if not hold.is_held(self._paths.container(identity)):
                asking.ask_once(self._paths, self._project, "adopt", fields={"id": identity}, seconds=left)
            time.sleep(_PAUSE)
