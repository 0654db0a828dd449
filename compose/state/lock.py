"""One lock a project for commands that change it: flock, so that the kernel drops it with its holder.

The file's existence means nothing; its content says who holds it and is only for people. Whoever leaves
nothing of the project removes the file while holding it, so a waiter must look again whether what it locked
is still the file of that name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from compose.linux.files import is_locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compose.state.paths import Paths


class ProjectLock:
    """The held lock."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def forget(self) -> None:
        """Remove the lock's file; the lock itself is held until the end of its block."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


@contextlib.contextmanager
def project_lock(
    paths: Paths, project: str, command: str, waiting: Callable[[str], None] | None = None
) -> Iterator[ProjectLock]:
    """Hold the lock of `project`; when somebody else does, call `waiting` with who it is, and wait.

    `waiting` may raise, when there is no point in that.
    """
    os.makedirs(paths.locks, mode=0o700, exist_ok=True)
    path = f"{paths.locks}/{project}.lock"
    descriptor = -1
    try:
        while descriptor < 0:
            descriptor = _acquire(path, waiting)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pycompose {command} (pid {os.getpid()})\n".encode(), 0)
        yield ProjectLock(path)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def is_held(paths: Paths, project: str) -> bool:
    """Whether a command changes the project just now."""
    return is_locked(f"{paths.locks}/{project}.lock", against=fcntl.LOCK_SH)


@contextlib.contextmanager
def file_lock(path: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file that nobody removes, made when it is missing; `waiting` is called, once, when
    somebody else has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _acquire(path: str, waiting: Callable[[str], None] | None) -> int:
    """Lock the file `path`; -1 when it was removed or replaced meanwhile."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            if waiting is not None:
                holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
                waiting(holder or "another command")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
    try:
        same = os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        same = False
    if not same:
        os.close(descriptor)
        return -1
    return descriptor
