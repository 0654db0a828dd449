"""A tree of files that may change at any moment, as the entries of an archive.

For `cp` and `export`: unlike layers.py this believes nothing that it has seen before. Directories are opened
without following links, files by a descriptor that is first looked at and then opened (a device that was put
in their place is never opened), what vanished meanwhile is left out, and a file that has shrunk is filled
with zeros up to the size that its header says.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from compose.errors import ImageError
from compose.images import tar
from compose.images.unpack import OPAQUE, OPAQUE_MARK, WHITEOUT_PREFIX, keep_xattr
from compose.linux.beneath import open_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Pair = tuple[tar.Entry, tar.Bytes]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_LOOK = os.O_PATH | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHANGED = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ESTALE)
_CHUNK = 1 << 20


class File:
    """The content of a regular file, of exactly `left` bytes."""

    __slots__ = ("_descriptor", "left")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.left = size

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, empty at the end."""
        wanted = min(_CHUNK, self.left if size < 0 else min(size, self.left))
        if not wanted:
            return b""
        data = os.read(self._descriptor, wanted) or b"\0" * wanted
        self.left -= len(data)
        return data


def walk(parent: int, name: bytes, shown: bytes, *, layer: bool = False) -> Iterator[Pair]:
    """The entries of what is called `name` in the directory `parent`, with `shown` instead of that name.

    An empty `name` stands for the directory itself. A file's content can be read until the next entry is
    asked for. Sockets, which no archive can hold, are left out. With `layer` the tree is the upper directory
    of an overlay, whose whiteouts get the form that they have in images. Raises `OSError` when `name` is not
    there.
    """
    walker = _Walker(parent, layer=layer)
    found = os.stat(name or b".", dir_fd=parent, follow_symlinks=False)
    yield from walker.one(name, shown, found)
    pending = [(name, shown)] if stat.S_ISDIR(found.st_mode) else []
    while pending:
        path, shown = pending.pop()
        below = []
        for child, status in walker.children(path):
            inner, inner_shown = _join(path, child), _join(shown, child)
            yield from walker.one(inner, inner_shown, status)
            if stat.S_ISDIR(status.st_mode):
                below.append((inner, inner_shown))
        pending.extend(reversed(below))


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name


class _Walker:
    def __init__(self, root: int, *, layer: bool) -> None:
        self._root = root
        self._layer = layer
        self._links: dict[tuple[int, int], bytes] = {}

    def children(self, path: bytes) -> list[tuple[bytes, os.stat_result]]:
        try:
            descriptor = open_plain(self._root, path, _DIRECTORY)
        except OSError as error:
            if error.errno in _CHANGED:
                return []
            raise
        found = []
        try:
            with os.scandir(descriptor) as items:
                for item in items:
                    try:
                        found.append((os.fsencode(item.name), item.stat(follow_symlinks=False)))
                    except FileNotFoundError:
                        continue
        finally:
            os.close(descriptor)
        return sorted(found, key=lambda pair: pair[0])

    def one(self, path: bytes, shown: bytes, status: os.stat_result) -> Iterator[Pair]:
        """The entry of a path, unless it has become something else meanwhile."""
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK:
            return
        try:
            descriptor = open_plain(self._root, path, _LOOK)
        except OSError as error:
            if error.errno in _CHANGED:
                return
            raise
        try:
            status = os.fstat(descriptor)
            if stat.S_IFMT(status.st_mode) != kind:
                return
            yield from self._entry(descriptor, shown, status)
        finally:
            os.close(descriptor)

    def _entry(self, descriptor: int, shown: bytes, status: os.stat_result) -> Iterator[Pair]:
        kind = stat.S_IFMT(status.st_mode)
        mode, device = stat.S_IMODE(status.st_mode), (os.major(status.st_rdev), os.minor(status.st_rdev))
        entry = tar.Entry(
            shown, kind, mode, status.st_uid, status.st_gid, 0, status.st_mtime_ns, b"", (0, 0), {}
        )
        if kind == stat.S_IFDIR:
            yield entry._replace(name=shown + b"/", xattrs=_xattrs(descriptor)), File(-1, 0)
            if self._layer and OPAQUE in os.listxattr(f"/proc/self/fd/{descriptor}"):
                yield _mark(_join(shown, OPAQUE_MARK)), File(-1, 0)
            return
        if self._layer:
            above, _, name = shown.rpartition(b"/")
            if name.startswith(WHITEOUT_PREFIX):
                raise ImageError(f"a file of the name {os.fsdecode(shown)} cannot be kept in a layer")
            if kind == stat.S_IFCHR and status.st_rdev == 0:
                yield _mark(_join(above, WHITEOUT_PREFIX + name)), File(-1, 0)
                return
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), shown)
            if first != shown:
                yield entry._replace(kind=0, link=first), File(-1, 0)
                return
        if kind == stat.S_IFREG:
            yield from self._file(descriptor, entry)
        elif kind == stat.S_IFLNK:
            yield entry._replace(link=os.readlink(b"", dir_fd=descriptor), mode=0o777), File(-1, 0)
        else:
            yield entry._replace(device=device if kind != stat.S_IFIFO else (0, 0)), File(-1, 0)

    def _file(self, place: int, entry: tar.Entry) -> Iterator[Pair]:
        descriptor = os.open(f"/proc/self/fd/{place}", _READ)  # what `place` is, whatever its name is now
        try:
            size = os.fstat(descriptor).st_size
            yield entry._replace(size=size, xattrs=_xattrs(place)), File(descriptor, size)
        finally:
            os.close(descriptor)


def _mark(name: bytes) -> tar.Entry:
    """A whiteout as images have it."""
    return tar.Entry(name, stat.S_IFREG, 0, 0, 0, 0, 0, b"", (0, 0), {})


def _xattrs(place: int) -> dict[str, bytes]:
    path = f"/proc/self/fd/{place}"
    found = {}
    for name in sorted(os.listxattr(path)):
        if keep_xattr(name):
            try:
                found[name] = os.getxattr(path, name)
            except OSError:  # removed meanwhile
                continue
    return found


def write(pairs: Iterable[Pair], output: Callable[[bytes], object]) -> None:
    """Give an archive of the entries to `output`, piece by piece."""
    for entry, content in pairs:
        output(tar.header(entry))
        while data := content.read():
            output(data)
        output(tar.padding(entry.size))
    output(tar.END)
