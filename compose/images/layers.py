"""A layer as a directory: what makes it one, and its digest.

The digest of a layer is that of a tar stream which is the same for the same directory: entries in the order
of their bytes, one form of header for one set of attributes, hard links to the first of their names,
whiteouts in the OCI form. The stream itself is not kept; `write` makes it again at any time.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError
from compose.images import tar
from compose.images.unpack import OPAQUE, WHITEOUT_PREFIX, keep_xattr
from compose.linux.beneath import open_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_CHUNK = 1 << 20


class Measure(NamedTuple):
    """Digest (``sha256:...``, the OCI diff id) and size in bytes of a layer's tar stream."""

    diff_id: str
    size: int


def measure(directory: int) -> Measure:
    """The digest of the layer in the directory descriptor `directory`; nothing may change it meanwhile."""
    digest = hashlib.sha256()
    size = write(directory, digest.update)
    return Measure(f"sha256:{digest.hexdigest()}", size)


def write(directory: int, output: Callable[[bytes], object]) -> int:
    """Give the layer's tar stream to `output`, piece by piece; its size in bytes. Raises `ImageError`."""
    size = 0
    links: dict[int, bytes] = {}
    try:
        for path, status in _walk(directory):
            size += _write_entry(directory, path, status, links, output)
    except OSError as error:
        raise ImageError(f"read a layer: {error.filename or ''} {error.strerror}") from error
    output(tar.END)
    return size + len(tar.END)


def _walk(root: int) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every path below `root` with its status, directories before what is in them, in the order of names."""
    yield b"", os.fstat(root)
    pending = [b""]
    while pending:
        path = pending.pop()
        descriptor = open_plain(root, path, _DIRECTORY)
        try:
            with os.scandir(descriptor) as found:
                items = sorted((os.fsencode(item.name), item.stat(follow_symlinks=False)) for item in found)
        finally:
            os.close(descriptor)
        below = []
        for name, status in items:
            inner = path + b"/" + name if path else name
            yield inner, status
            if stat.S_ISDIR(status.st_mode):
                below.append(inner)
        pending.extend(reversed(below))


def _write_entry(
    root: int, path: bytes, status: os.stat_result, links: dict[int, bytes], output: Callable[[bytes], object]
) -> int:
    above, _, name = path.rpartition(b"/")
    kind = stat.S_IFMT(status.st_mode)
    if name.startswith(WHITEOUT_PREFIX):
        raise ImageError(f"a file of the name {os.fsdecode(path)} cannot be kept in a layer")
    if kind == stat.S_IFCHR and status.st_rdev == 0:
        return _emit(
            output, _plain(above + b"/" + WHITEOUT_PREFIX + name if above else WHITEOUT_PREFIX + name)
        )
    if kind == stat.S_IFSOCK:
        return 0
    entry = tar.Entry(
        path,
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        0,
        status.st_mtime_ns,
        b"",
        (0, 0),
        {},
    )
    if kind == stat.S_IFDIR:
        return _write_directory(root, path, entry, output)
    if status.st_nlink > 1:
        first = links.setdefault(status.st_ino, path)
        if first != path:
            return _emit(output, entry._replace(kind=0, link=first))
    if kind == stat.S_IFREG:
        return _write_file(root, path, entry, output)
    if kind == stat.S_IFLNK:
        return _emit(output, entry._replace(link=_read_link(root, path), mode=0o777))
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        entry = entry._replace(device=(os.major(status.st_rdev), os.minor(status.st_rdev)))
    return _emit(output, entry)


def _write_directory(root: int, path: bytes, entry: tar.Entry, output: Callable[[bytes], object]) -> int:
    descriptor = open_plain(root, path, _DIRECTORY)
    try:
        xattrs = _xattrs(descriptor)
        opaque = OPAQUE in os.listxattr(descriptor)
    finally:
        os.close(descriptor)
    size = _emit(output, entry._replace(name=(path or b".") + b"/", xattrs=xattrs))
    if opaque:
        size += _emit(output, _plain((path + b"/" if path else b"") + b".wh..wh..opq"))
    return size


def _write_file(root: int, path: bytes, entry: tar.Entry, output: Callable[[bytes], object]) -> int:
    descriptor = open_plain(root, path, _READ)
    try:
        length = os.fstat(descriptor).st_size
        size = _emit(output, entry._replace(size=length, xattrs=_xattrs(descriptor)))
        left = length
        while left:
            data = os.read(descriptor, min(left, _CHUNK))
            if not data:
                raise ImageError(f"the file {os.fsdecode(path)} changed while it was read")
            output(data)
            left -= len(data)
    finally:
        os.close(descriptor)
    padding = tar.padding(length)
    output(padding)
    return size + length + len(padding)


def _read_link(root: int, path: bytes) -> bytes:
    above, _, name = path.rpartition(b"/")
    descriptor = open_plain(root, above, _DIRECTORY)
    try:
        return os.readlink(name, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _plain(name: bytes) -> tar.Entry:
    return tar.Entry(name, stat.S_IFREG, 0, 0, 0, 0, 0, b"", (0, 0), {})


def _emit(output: Callable[[bytes], object], entry: tar.Entry) -> int:
    data = tar.header(entry)
    output(data)
    return len(data)


def _xattrs(descriptor: int) -> dict[str, bytes]:
    return {
        name: os.getxattr(descriptor, name) for name in sorted(os.listxattr(descriptor)) if keep_xattr(name)
    }


def is_empty(directory: int) -> bool:
    """Whether a layer changes nothing: no entry, not even a whiteout."""
    with os.scandir(directory) as found:
        return next(found, None) is None


def seal(directory: int) -> None:
    """Make an overlay's upper directory a layer: what only that one mount meant goes, sockets go.

    A directory renamed by redirection or a file whose content stayed below (``trusted.overlay.redirect``,
    ``.metacopy``) is an `ImageError`: our mounts have both switched off.
    """
    for path, status in list(_walk(directory)):
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFSOCK:
            above, _, name = path.rpartition(b"/")
            parent = open_plain(directory, above, _DIRECTORY)
            os.unlink(name, dir_fd=parent)
            os.close(parent)
        elif kind in (stat.S_IFREG, stat.S_IFDIR):
            descriptor = open_plain(directory, path, _READ)
            try:
                _seal_one(descriptor, path)
            finally:
                os.close(descriptor)


def _seal_one(descriptor: int, path: bytes) -> None:
    for name in os.listxattr(descriptor):
        if not name.startswith("trusted.overlay.") or name == OPAQUE:
            continue
        if name in ("trusted.overlay.redirect", "trusted.overlay.metacopy"):
            raise ImageError(f"{os.fsdecode(path)} is not whole in its layer ({name})")
        os.removexattr(descriptor, name)
