"""Many tasks, one request: whoever comes while a request is under way goes into the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable

Item = TypeVar("Item")


class Batcher(Generic[Item]):
    """Collects items and hands them to a blocking function in a worker thread, one call at a time.

    An error of a call is raised for every item that was in it.
    """

    def __init__(self, call: Callable[[list[Item]], object]) -> None:
        self._call = call
        self._waiting: list[tuple[Item, anyio.Event, list[BaseException]]] = []
        self._lock = anyio.Lock()

    async def submit(self, item: Item) -> None:
        """Return when a call with `item` in it has returned."""
        done = anyio.Event()
        errors: list[BaseException] = []
        entry = (item, done, errors)
        self._waiting.append(entry)
        async with self._lock:
            if entry in self._waiting:
                batch, self._waiting = self._waiting, []
                await self._run(batch)
        if errors:
            raise errors[0]

    async def _run(self, batch: list[tuple[Item, anyio.Event, list[BaseException]]]) -> None:
        items = [item for item, _, _ in batch]
        try:
            await anyio.to_thread.run_sync(self._call, items)
        except Exception as error:
            for _, _, errors in batch:
                errors.append(error)
        finally:
            for _, done, _ in batch:
                done.set()
