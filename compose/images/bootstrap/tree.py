"""The root file system while it is filled: every path is resolved below one descriptor, never on the host.

Packages are unpacked by several threads. Directories belong to nobody in particular, so they are made with
plain modes first; in the end `Tree.finish` gives each the owner and mode of the first package, in the order
handed in, that ships it: the same result whichever thread was faster.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import io
import os
import re
import stat
import threading
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError
from compose.images import tar
from compose.images.unpack import Unpacker, clean
from compose.linux.beneath import open_in_root, remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
Directories = dict[bytes, tuple[int, int, int]]
"""Path -> mode, uid, gid."""


class Contents(NamedTuple):
    """What one package put into the tree."""

    paths: list[bytes]
    """As dpkg lists them: absolute, in the archive's order, ``/.`` first."""
    directories: Directories
    size: int


class Excludes:
    """dpkg's path-exclude and path-include, dpkg(1): shell patterns, of which the last match counts."""

    def __init__(self, exclude: Iterable[str] = (), include: Iterable[str] = ()) -> None:
        self._exclude = _pattern(exclude)
        self._include = _pattern(include)

    def __call__(self, path: str) -> bool:
        if not self._exclude or not self._exclude.match(path):
            return False
        return not self._include or not self._include.match(path)


def _pattern(patterns: Iterable[str]) -> re.Pattern[str] | None:
    texts = [fnmatch.translate(pattern) for pattern in patterns]
    return re.compile("|".join(texts)) if texts else None


class Tree:
    """A directory that becomes a root file system. Close it when done."""

    def __init__(self, path: str, excludes: Excludes | None = None) -> None:
        self.path = path
        try:
            self._root = os.open(path, _DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"open {path}: {error.strerror}") from error
        self._excludes = excludes or Excludes()
        self._made: set[bytes] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Tree:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def unpack(self, archive: bytes) -> Contents:
        """Unpack a package's files (a tar archive); raises `ImageError`."""
        paths: list[bytes] = []
        directories: Directories = {}
        size = 0
        with contextlib.closing(Unpacker(self._root, keep_directory_links=True)) as unpacker:
            for entry, content in tar.read(io.BytesIO(archive)):
                path = clean(entry.name)
                paths.append(b"/" + path if path else b"/.")
                left_out = self._excludes(os.fsdecode(paths[-1]))
                if entry.kind == stat.S_IFDIR:
                    if not left_out:
                        self._directory(path)
                        directories[path] = (entry.mode, entry.uid, entry.gid)
                elif not left_out:
                    unpacker.add(entry, content)
                    size += entry.size
        return Contents(paths, directories, size)

    def _directory(self, path: bytes) -> None:
        if not path or path in self._made:
            return
        above, _, name = path.rpartition(b"/")
        with self._lock, self._opened(above) as directory:
            try:
                os.mkdir(name, 0o755, dir_fd=directory)
            except FileExistsError:
                # a directory, or a link to one (merged /usr); anything else is a conflict of two packages
                with self._opened(path):
                    pass
            except OSError as error:
                raise ImageError(f"make the directory /{os.fsdecode(path)}: {error.strerror}") from error
        self._made.add(path)

    @contextlib.contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        try:
            descriptor = open_in_root(self._root, path, _DIRECTORY)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise ImageError(f"open the directory /{os.fsdecode(path)}: {reason}") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def finish(self, packages: Iterable[Directories]) -> None:
        """Give each directory the owner and mode of the first of `packages` that ships it."""
        final: Directories = {}
        for directories in packages:
            for path, attributes in directories.items():
                final.setdefault(path, attributes)
        for path, (mode, uid, gid) in final.items():
            with self._opened(path) as descriptor:
                os.fchown(descriptor, uid, gid)
                os.fchmod(descriptor, mode)

    def write(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Make or replace the file `path`, owned by us (root); its directory must exist."""
        above, _, name = path.strip("/").encode().rpartition(b"/")
        with self._opened(above) as directory:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, mode, dir_fd=directory)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fchmod(descriptor, mode)
            finally:
                os.close(descriptor)

    def read(self, path: str) -> bytes | None:
        """The content of the regular file `path`, or None."""
        try:
            descriptor = open_in_root(self._root, path.encode(), os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
        with open(descriptor, "rb") as file:
            return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None

    def directory(self, path: str, mode: int = 0o755) -> None:
        """Make the directory `path` where it is missing; what is above it must exist."""
        above, _, name = path.strip("/").encode().rpartition(b"/")
        with self._opened(above) as directory, contextlib.suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=directory)
            os.chmod(name, mode, dir_fd=directory)

    def link(self, path: str, target: str) -> None:
        """Make the symbolic link `path` where nothing stands yet."""
        above, _, name = path.strip("/").encode().rpartition(b"/")
        with self._opened(above) as directory, contextlib.suppress(FileExistsError):
            os.symlink(target, name, dir_fd=directory)

    def names(self, path: str) -> list[str]:
        """What is in the directory `path`, sorted; nothing where it is missing."""
        try:
            with self._opened(path.encode()) as descriptor:
                return sorted(os.listdir(descriptor))
        except ImageError:
            return []

    def remove(self, path: str) -> None:
        """Remove `path`, a file or a tree; a missing one is fine."""
        above, _, name = path.strip("/").encode().rpartition(b"/")
        with contextlib.suppress(ImageError), self._opened(above) as directory:
            remove_tree(directory, name)

    def empty(self, path: str) -> None:
        """Cut the file `path` to nothing, if it is there, with its owner and mode as they are."""
        try:
            os.close(open_in_root(self._root, path.encode(), os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP):
                raise ImageError(f"empty {path}: {os.strerror(error.errno or 0)}") from error

    def clamp_times(self, newest: int) -> None:
        """Set every time of modification later than `newest` (seconds) to it, so that the same packages give
        the same bytes."""
        limit = newest * 10**9
        for _, directories, files, descriptor in os.fwalk(".", dir_fd=self._root, topdown=False):
            for name in files + directories:
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if status.st_mtime_ns > limit:
                    os.utime(name, ns=(limit, limit), dir_fd=descriptor, follow_symlinks=False)
        os.utime(self._root, ns=(limit, limit))
