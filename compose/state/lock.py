"""Locks of a project, for commands that change it: flock, so that the kernel drops them with their holder.

    lock/PROJECT.lock     held by whoever changes the project; while an `up` only waits, it lets go of it
    lock/PROJECT.making   held before and beside it by whoever makes and starts containers, from beginning to
                          end, so that they come one after the other; who takes away does without

A file's existence means nothing; its content says who holds it and is only for people. Whoever leaves nothing
of the project removes the file while holding it, so a waiter must look again whether what it locked is still
the file of that name.
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
    """One lock, and whether it is held."""

    __slots__ = ("_descriptor", "_holder", "_path", "had_another")

    def __init__(self, path: str, command: str) -> None:
        self._path = path
        self._holder = f"pycompose {command} (pid {os.getpid()})\n".encode()
        self._descriptor = -1
        self.had_another = False
        """Whether somebody else had it between `let_go` and `take_again`."""

    def take(self, waiting: Callable[[str], None] | None) -> None:
        """Take the lock; see `project_lock`."""
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        while self._descriptor < 0:
            self._descriptor = _acquire(self._path, waiting)
        self._sign()

    def take_again(self) -> bool:
        """Take what was let go of, if nobody else has it just now."""
        try:
            found = _acquire(self._path, _give_up)
        except BlockingIOError:
            return False
        if found < 0:
            return False
        self._descriptor = found
        self.had_another = os.pread(found, 200, 0) != self._holder
        self._sign()
        return True

    def _sign(self) -> None:
        """Say in the file who has it; where there is no room for that, it is held all the same."""
        os.ftruncate(self._descriptor, 0)
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, self._holder, 0)

    def let_go(self) -> None:
        """Have it no more, for good or for a while; nor do processes that were forked meanwhile."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def held(self) -> bool:
        return self._descriptor >= 0

    def forget(self) -> None:
        """Remove the lock's file; the lock itself is held until the end of its block."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def forget_all(self) -> None:
        """`forget`, and what somebody has left who was killed while he was making something."""
        path = f"{self._path.removesuffix('.lock')}.making"
        with contextlib.suppress(BlockingIOError):
            if os.path.exists(path):
                other = ProjectLock(path, "")
                if other.take_again():
                    other.forget()
                    other.let_go()
        self.forget()


def _give_up(holder: str) -> None:
    raise BlockingIOError(holder)


@contextlib.contextmanager
def project_lock(
    paths: Paths, project: str, command: str, waiting: Callable[[str], None] | None = None
) -> Iterator[ProjectLock]:
    """Hold the lock of `project`; when somebody else does, call `waiting` with who it is, and wait.

    `waiting` may raise, when there is no point in that.
    """
    lock = ProjectLock(f"{paths.locks}/{project}.lock", command)
    try:
        lock.take(waiting)
        yield lock
    finally:
        lock.let_go()


@contextlib.contextmanager
def making_lock(paths: Paths, project: str, command: str, waiting: Callable[[str], None]) -> Iterator[None]:
    """Be the only one who makes and starts containers of `project`; to be taken before its `project_lock`."""
    lock = ProjectLock(f"{paths.locks}/{project}.making", command)
    try:
        lock.take(waiting)
        yield
    finally:
        if lock.held:
            lock.forget()
        lock.let_go()


@contextlib.contextmanager
def change_lock(
    paths: Paths, project: str, command: str, waiting: Callable[[str], None], *, starts: bool
) -> Iterator[ProjectLock]:
    """Hold the `project_lock` for a command that changes what is there, one that `starts` containers within a
    `making_lock`."""
    with contextlib.ExitStack() as held:
        if starts:
            held.enter_context(making_lock(paths, project, command, waiting))
        yield held.enter_context(project_lock(paths, project, command, waiting))


def is_held(paths: Paths, project: str) -> bool:
    """Whether a command changes the project just now."""
    names = (f"{paths.locks}/{project}.{kind}" for kind in ("making", "lock"))
    return any(is_locked(name, against=fcntl.LOCK_SH) for name in names)


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
