"""Where a child can be found while somebody waits for it in another thread."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _none() -> int:
    return -1


class Birth:
    """Filled in by whoever starts the child."""

    __slots__ = ("pidfd",)

    def __init__(self) -> None:
        self.pidfd: Callable[[], int] = _none
        """Its pidfd, which belongs to who starts it; -1 before it is born and once that one has closed it."""
