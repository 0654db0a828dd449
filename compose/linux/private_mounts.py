"""Work in a mount namespace that nobody else is in, and that goes with its last descriptor."""

from __future__ import annotations

from compose.linux import mount as m
from compose.linux.namespaces import CLONE_NEWNS, unshare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    _T = TypeVar("_T")

_CLONE_FS = 0x200


def in_private_mounts(work: Callable[[], _T]) -> _T:
    """Run `work` in a thread with a mount namespace and working directory of its own; its result or error.

    Nothing that is mounted there is seen elsewhere, nor the other way round. The caller's thread stays where
    it is: a process may have many threads, and only one without company may leave its namespaces for good.
    """
    import threading

    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            unshare(CLONE_NEWNS | _CLONE_FS)
            m.mount(None, "/", None, m.MS_REC | m.MS_PRIVATE)
            results.append(work())
        except BaseException as error:  # handed to the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="mounts")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
