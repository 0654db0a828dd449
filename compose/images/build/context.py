"""What COPY and ADD may read: the build context, another stage, an image.

Each is a `Tree`: a directory descriptor and a rule how paths below it are resolved. In the build context a
link or ``..`` that leaves it is an error, and so is anything that is neither a file, nor a directory, nor a
link: opening a fifo would wait for ever. A stage or an image is looked at as a process in it would see it.

Digests of files are kept with what stat(2) said of them, so that the next build reads only what was changed.
A file that was changed within two seconds before it was looked at is not kept: its times cannot tell a second
change from the first one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import stat
import time
from typing import TYPE_CHECKING

from compose.errors import BuildError, ImageError
from compose.images.build.ignore import Ignore, pattern_expression
from compose.images.copying import holds_wanted, open_file
from compose.linux.beneath import open_beneath, open_in_root
from compose.state.files import read_json, replace_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.images.build.parser import Place

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 128
_SETTLED = 2 * 10**9


class Tree:
    """A directory that is copied from."""

    def __init__(self, root: int, *, context: bool, ignore: Ignore | None = None) -> None:
        self.root = root
        self.is_context = context
        self.ignore = ignore or Ignore()

    def wanted(self, path: bytes, is_directory: bool) -> bool:
        """Whether .dockerignore leaves `path` in."""
        del is_directory
        return not self.ignore.excludes(os.fsdecode(path))

    def open(self, path: bytes, place: Place) -> int:
        """Open the file or directory `path`; raises `BuildError`."""
        try:
            if self.is_context:
                return open_beneath(self.root, path or b".", _READ)
            return open_in_root(self.root, path or b".", _READ)
        except OSError as error:
            shown = os.fsdecode(path)
            if error.errno in (errno.EXDEV, errno.ELOOP):
                raise place.error(f"{shown} leaves the build context through a link") from error
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise self.not_found(shown, place) from error
            raise place.error(f"{shown}: {os.strerror(error.errno or 0)}") from error

    def not_found(self, shown: str, place: Place) -> BuildError:
        if self.is_context:
            return place.error(f"{shown} is not in the build context, or .dockerignore leaves it out")
        return place.error(f"{shown} is not in the image that it is copied from")

    def sources(self, pattern: str, place: Place) -> list[bytes]:
        """The paths that `pattern` means, in the order of their names; raises `BuildError` if there are
        none."""
        clean = posixpath.normpath("/" + pattern).lstrip("/")
        if self.is_context and posixpath.normpath(pattern.lstrip("/")).split("/")[0] == "..":
            raise place.error(f"{pattern} is outside of the build context")
        if not set(clean) & set("*?[\\"):
            path = os.fsencode(clean)
            if not self._includes(path):
                raise self.not_found(pattern, place)
            return [path]
        found = sorted(self._matches(self.root, b"", clean.split("/")))
        if not found:
            raise place.error(f"no file matches {pattern}")
        return found

    def _matches(self, directory: int, path: bytes, parts: list[str]) -> Iterator[bytes]:
        expression = pattern_expression(parts[0])
        for name in os.listdir(directory):
            inner = path + b"/" + os.fsencode(name) if path else os.fsencode(name)
            if not expression.fullmatch(name):
                continue
            if len(parts) == 1:
                if self._includes(inner):
                    yield inner
                continue
            try:
                below = os.open(name, _DIRECTORY, dir_fd=directory)
            except OSError:
                continue
            try:
                yield from self._matches(below, inner, parts[1:])
            finally:
                os.close(below)

    def _includes(self, path: bytes) -> bool:
        """Whether .dockerignore leaves in `path`, or something below it."""
        if self.wanted(path, False):
            return True
        if not self.ignore.has_exceptions:
            return False
        try:
            descriptor = open_beneath(self.root, path, _DIRECTORY)
        except OSError:
            return False
        try:
            return holds_wanted(descriptor, path, self.wanted)
        finally:
            os.close(descriptor)


class Digests:
    """Digests of the files of one context, with a cache in the file `path`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._changed = False
        self._known: dict[str, list[int | str]] = {}
        with contextlib.suppress(OSError, ValueError):
            found = read_json(path)
            if isinstance(found, dict):
                self._known = found

    def save(self) -> None:
        if self._changed:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            replace_json(self._path, self._known, durable=False)

    def source(self, tree: Tree, path: bytes, place: Place) -> str:
        """The digest of all that COPY would take from `path`: names, types, modes, contents, link targets."""
        descriptor = tree.open(path, place)
        digest = hashlib.sha256()
        try:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                digest.update(b"directory %o\0" % stat.S_IMODE(status.st_mode))
                for line in self._directory(tree, descriptor, path, b"", 0):
                    digest.update(line)
            elif stat.S_ISREG(status.st_mode):
                digest.update(b"file %o " % stat.S_IMODE(status.st_mode))
                digest.update(self._file(descriptor, path).encode())
            else:
                raise place.error(f"{os.fsdecode(path)} is neither a file nor a directory")
        except OSError as error:
            raise place.error(f"{error.filename or os.fsdecode(path)}: {error.strerror}") from error
        except BuildError:
            raise
        except ImageError as error:
            raise place.error(error.message) from error
        finally:
            os.close(descriptor)
        return digest.hexdigest()

    def _directory(
        self, tree: Tree, directory: int, path: bytes, relative: bytes, depth: int
    ) -> Iterator[bytes]:
        if depth > _MAX_DEPTH:
            raise ImageError(f"{os.fsdecode(path)[:100]}...: nested more than {_MAX_DEPTH} levels deep")
        for name in sorted(map(os.fsencode, os.listdir(directory))):
            inner = path + b"/" + name if path else name
            shown = relative + b"/" + name
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            is_directory = stat.S_ISDIR(status.st_mode)
            wanted = tree.wanted(inner, is_directory)
            head = b"%s\0%o " % (shown, status.st_mode)
            if is_directory:
                if not wanted and not tree.ignore.has_exceptions:
                    continue
                below = os.open(name, _DIRECTORY, dir_fd=directory)
                try:
                    lines = list(self._directory(tree, below, inner, shown, depth + 1))
                finally:
                    os.close(below)
                if wanted or lines:
                    yield head
                    yield from lines
            elif wanted:
                yield head + self._leaf(directory, name, inner, status).encode()

    def _leaf(self, directory: int, name: bytes, path: bytes, status: os.stat_result) -> str:
        if stat.S_ISLNK(status.st_mode):
            return "link " + hashlib.sha256(os.readlink(name, dir_fd=directory)).hexdigest()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{os.fsdecode(path)} is neither a file, nor a directory, nor a link")
        descriptor = open_file(directory, name, path)
        try:
            return self._file(descriptor, path)
        finally:
            os.close(descriptor)

    def _file(self, descriptor: int, path: bytes) -> str:
        status = os.fstat(descriptor)
        stamp: list[int | str] = [
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        ]
        key = path.hex()
        known = self._known.get(key)
        if isinstance(known, list) and known[:-1] == stamp and isinstance(known[-1], str):
            return known[-1]
        with open(descriptor, "rb", closefd=False) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if status.st_ctime_ns < time.time_ns() - _SETTLED:
            self._known[key] = [*stamp, digest]
            self._changed = True
        return digest


@contextlib.contextmanager
def open_context(directory: str, dockerfile: str | None) -> Iterator[Tree]:
    """The build context in `directory`, with the rules of ``DOCKERFILE.dockerignore`` or ``.dockerignore``.

    Raises `BuildError`.
    """
    try:
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BuildError(f"the build context {directory}: {error.strerror}") from error
    try:
        yield Tree(root, context=True, ignore=_read_ignore(directory, dockerfile))
    finally:
        os.close(root)


def _read_ignore(directory: str, dockerfile: str | None) -> Ignore:
    candidates = [f"{directory}/.dockerignore"]
    if dockerfile is not None:
        candidates.insert(0, f"{dockerfile}.dockerignore")
    for path in candidates:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                return Ignore(file.read(8 << 20), path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise BuildError(f"{path}: {error.strerror}") from error
    return Ignore()
