"""Named and anonymous volumes: their directories, their first content, their end.

    VOLUMES/NAME/data         what containers see
    VOLUMES/NAME/filling.PID  content on its way in; becomes ``data`` by rename: a volume is filled or empty

The index says which volumes there are; a directory without a row is the rest of something killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from compose.errors import VolumeError
from compose.linux.beneath import remove_path

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
        os.makedirs(os.path.dirname(directory), mode=0o700, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o755)
        return directory

    def fill(self, name: str, copy: Callable[[str], object]) -> None:
        """Give an empty volume its first content: `copy` fills the directory that it is handed.

        Does nothing when the volume holds anything. Two containers that share a new volume do not mix.
        """
        directory = self.create(name)
        parent = os.path.dirname(directory)
        with _locked(parent):
            if os.listdir(directory):
                return
            _sweep(parent)
            scratch = f"{parent}/filling.{os.getpid()}"
            os.mkdir(scratch, 0o755)
            copy(scratch)
            descriptor = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            # rename replaces an empty directory in one step
            os.rename(scratch, directory)

    def remove(self, name: str) -> None:
        """Remove the volume and its content; a missing one is none."""
        parent = os.path.dirname(self.directory(name))
        try:
            remove_path(parent)
        except OSError as error:
            raise VolumeError(f"remove volume {name}: {error.strerror}: {error.filename}") from None


def _sweep(parent: str) -> None:
    for entry in os.listdir(parent):
        if entry.startswith("filling."):
            remove_path(f"{parent}/{entry}")


@contextlib.contextmanager
def _locked(directory: str) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
