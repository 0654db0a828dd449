"""Named and anonymous volumes: their directories, their first content, their end.

    VOLUMES/NAME/data         what containers see; never replaced, since one may have it mounted already
    VOLUMES/NAME/filling.PID  content that is being copied
    VOLUMES/NAME/filled       content that is whole and on disk, on its way into ``data``, entry by entry

Whoever comes next goes on with what is in ``filled``: a volume is filled or empty, after a kill or a power
cut too.

The index says which volumes there are; a directory without a row is the rest of something killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from compose.errors import VolumeError
from compose.linux.beneath import remove_path
from compose.linux.files import syncfs
from compose.state.files import sync_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compose.state.paths import Paths

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class VolumeStore:
    """The directories of all volumes."""

    __slots__ = ("_root",)

    def __init__(self, paths: Paths) -> None:
        self._root = paths.volumes

    def directory(self, name: str) -> str:
        """The directory that containers see. Refuses names that could leave the store."""
        if not name or name[0] in ".-_" or not _NAME_CHARACTERS.issuperset(name) or len(name) > 200:
            raise VolumeError(
                f"volume name {name!r} is not allowed",
                hint="use letters, digits, '_', '.' and '-', beginning with a letter or digit",
            )
        return f"{self._root}/{name}/data"

    def create(self, name: str) -> str:
        """Make the volume `name`, or find it; returns its directory."""
        directory = self.directory(name)
        parent = os.path.dirname(directory)
        os.makedirs(parent, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o755)
        if os.path.lexists(f"{parent}/filled"):
            with _locked(parent):
                _move_in(parent)
        return directory

    def fill(self, name: str, copy: Callable[[str], object]) -> None:
        """Give an empty volume its first content: `copy` fills the directory that it is handed.

        It says with False that there is none. Does nothing when the volume holds anything. Two containers
        that share a new volume do not mix.
        """
        directory = self.create(name)
        parent = os.path.dirname(directory)
        with _locked(parent):
            if os.listdir(directory):
                return
            _sweep(parent)
            scratch = f"{parent}/filling.{os.getpid()}"
            os.mkdir(scratch, 0o755)
            if copy(scratch) is False:
                os.rmdir(scratch)
                return
            with _opened(scratch) as descriptor:
                syncfs(descriptor)
            os.rename(scratch, f"{parent}/filled")
            _move_in(parent)

    def remove(self, name: str) -> None:
        """Remove the volume and its content; a missing one is none."""
        parent = os.path.dirname(self.directory(name))
        try:
            remove_path(parent)
        except OSError as error:
            raise VolumeError(f"remove volume {name}: {error.strerror}: {error.filename}") from None


def _move_in(parent: str) -> None:
    """Move what is in ``filled`` to ``data``, which gets its attributes; what is there already stays."""
    source, target = f"{parent}/filled", f"{parent}/data"
    try:
        entries = os.listdir(source)
    except FileNotFoundError:
        return  # somebody else has done it
    for entry in entries:
        if not os.path.lexists(f"{target}/{entry}"):
            os.rename(f"{source}/{entry}", f"{target}/{entry}")
    status = os.stat(source)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, status.st_mode & 0o7777)
    for name in os.listxattr(source):
        os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    sync_directory(target)
    remove_path(source)


def _sweep(parent: str) -> None:
    for entry in os.listdir(parent):
        if entry.startswith("filling."):
            remove_path(f"{parent}/{entry}")


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    with _opened(directory) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
