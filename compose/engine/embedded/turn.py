"""Whose turn it is: a command lets go of its project while all that it does is to wait.

`down`, `stop`, `kill` and the like then work beside an `up` that waits for a container to become healthy, or
for a hook. Whatever waits hears from the containers themselves that they have ended or are gone; what acts
afterwards takes the project again, and gives up where somebody has taken it down meanwhile.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from compose.errors import PlanError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable

    from compose.state.lock import ProjectLock

_MOMENT = 0.1
"""Seconds for which nothing has acted before the project is let go of: something else begins at once."""
_LOOK = 0.05
"""Seconds between two attempts to take it again, where another command has it."""


class Turn:
    """One command's hold on its project. Without a lock, which others have for it, nothing is let go of."""

    def __init__(self, lock: ProjectLock | None, is_there: Callable[[], bool]) -> None:
        self._lock = lock
        self._is_there = is_there
        self._acting = 0
        self._held = True
        self._gone = False
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def acting(self) -> AsyncIterator[None]:
        """The block changes something. Raises `PlanError` where the project was taken down meanwhile."""
        try:
            await self._begin()
            yield
        finally:
            self._end()

    @contextlib.asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """The block, within one that acts, only waits."""
        self._end()
        try:
            yield
        except BaseException:
            self._acting += 1  # nothing more is done
            raise
        await self._begin()

    async def _begin(self) -> None:
        self._acting += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while not self._held:
            assert self._lock is not None
            if self._lock.take_again():
                self._held = True
                self._gone = self._lock.had_another and not self._is_there()
                break
            import anyio

            await anyio.sleep(_LOOK)
        if self._gone:
            raise PlanError("the project was taken down by another command meanwhile")

    def _end(self) -> None:
        self._acting -= 1
        if self._acting == 0 and self._held and self._lock is not None:
            import asyncio

            self._timer = asyncio.get_running_loop().call_later(_MOMENT, self._let_go)

    def _let_go(self) -> None:
        if self._acting == 0 and self._held and self._lock is not None:
            self._held = False
            self._lock.let_go()
