"""Blocking work beside the event loop.

anyio is imported where a loop runs already, never by loading the engine: while it is imported (80 ms) other
processes work on what was begun before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")


async def in_thread(function: Callable[..., Result], *arguments: object, abandon: bool = False) -> Result:
    """The result of a blocking call in a worker thread; with `abandon` a cancelled caller does not wait."""
    import anyio.to_thread

    return await anyio.to_thread.run_sync(function, *arguments, abandon_on_cancel=abandon)
