"""Many tasks, one request: whoever comes while a request is under way goes into the next one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import anyio

Item = TypeVar("Item")


class Begun(Generic[Item]):
    """One call that was begun in a thread of its own, before there was an event loop."""

    def __init__(
        self, call: Callable[[list[Item]], object], items: list[Item], after: Begun[Any] | None
    ) -> None:
        self.items = items
        self.error: BaseException | None = None
        self._call = call
        self._after = after
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._after is not None:
                self._after.result()
            self._call(self.items)
        except BaseException as error:
            self.error = error

    def result(self) -> None:
        """Wait for the end of the call, and raise its error."""
        self._thread.join()
        if self.error is not None:
            raise self.error


class Batcher(Generic[Item]):
    """Collects items and hands them to a blocking function in a worker thread, one call at a time.

    An error of a call is raised for every item that was in it.
    """

    def __init__(self, call: Callable[[list[Item]], object]) -> None:
        self._call = call
        self._waiting: list[tuple[Item, anyio.Event, list[BaseException]]] = []
        self._lock: anyio.Lock | None = None
        self._begun: Begun[Item] | None = None

    def begin(self, items: list[Item], after: Begun[Any] | None = None) -> Begun[Item]:
        """Begin a call now, and after `after`; whoever submits one of `items` later waits for this one."""
        self._begun = Begun(self._call, items, after)
        return self._begun

    async def submit(self, item: Item) -> None:
        """Return when a call with `item` in it has returned."""
        if self._begun is not None and item in self._begun.items:
            await in_thread(self._begun.result)
            return
        import anyio

        if self._lock is None:
            self._lock = anyio.Lock()
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
            await in_thread(self._call, items)
        except Exception as error:
            for _, _, errors in batch:
                errors.append(error)
        finally:
            for _, done, _ in batch:
                done.set()
