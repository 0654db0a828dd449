"""Copying trees between directory descriptors, with owners, modes, times, hard links and attributes.

Links are never followed, in the source or in the destination; a directory is merged into one that is there.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError
from compose.images.unpack import keep_xattr
from compose.linux.beneath import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 128
_MAX_HELD = 256  # files with several names whose directories are held open; more of them are copied apart
_CHUNK = 1 << 22


class Rules(NamedTuple):
    """How a copy differs from its source."""

    owner: tuple[int, int] | None = None
    """None: as in the source."""
    mode: int | None = None
    """Permission bits of everything but links; None: as in the source."""
    special: bool = True
    """Whether devices, fifos and sockets may be copied; else they are an `ImageError`."""
    wanted: Callable[[bytes, bool], bool] | None = None
    """Given a path relative to the start and whether it is a directory: whether it is copied."""
    descend: bool = False
    """Whether directories that are not wanted may hold something that is."""


class Copier:
    """One copy operation: remembers inodes for hard links."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._links: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._held: list[int] = []

    def close(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()

    def __enter__(self) -> Copier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tree(self, source: int, destination: int, path: bytes = b"", depth: int = 0) -> None:
        """Copy what is in the directory `source` into the directory `destination`.

        `path` is where `source` lies as `Rules.wanted` and errors see it.
        """
        if depth > _MAX_DEPTH:
            raise ImageError(f"copy {os.fsdecode(path)[:100]}...: nested more than {_MAX_DEPTH} levels deep")
        for name in sorted(map(os.fsencode, os.listdir(source))):
            inner = path + b"/" + name if path else name
            self.item(source, name, destination, name, inner, depth)

    def item(
        self, source: int, name: bytes, destination: int, new_name: bytes, path: bytes, depth: int = 0
    ) -> None:
        """Copy `name` in `source`, whatever it is, to `new_name` in `destination`."""
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        is_directory = stat.S_ISDIR(status.st_mode)
        wanted = self.rules.wanted is None or self.rules.wanted(path, is_directory)
        if is_directory:
            if not wanted and not self.rules.descend:
                return
            self._directory(source, name, destination, new_name, path, depth, made=wanted)
        elif wanted:
            self._leaf(source, name, destination, new_name, path, status)

    def _directory(
        self,
        source: int,
        name: bytes,
        destination: int,
        new_name: bytes,
        path: bytes,
        depth: int,
        *,
        made: bool,
    ) -> None:
        inner = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            if not made and not holds_wanted(inner, path, self.rules.wanted):
                return
            target = make_directory(destination, new_name)
            try:
                self.tree(inner, target, path, depth + 1)
                self.attributes(inner, target)
            finally:
                os.close(target)
        finally:
            os.close(inner)

    def attributes(self, source: int, target: int) -> None:
        """Give the directory or file `target` the attributes of `source`, as the rules want them."""
        status = os.fstat(source)
        os.fchown(target, *(self.rules.owner or (status.st_uid, status.st_gid)))
        mode = stat.S_IMODE(status.st_mode) if self.rules.mode is None else self.rules.mode
        os.fchmod(target, mode)
        for name in os.listxattr(source):
            if keep_xattr(name):
                os.setxattr(target, name, os.getxattr(source, name))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _leaf(
        self, source: int, name: bytes, destination: int, new_name: bytes, path: bytes, status: os.stat_result
    ) -> None:
        try:
            if stat.S_ISDIR(os.stat(new_name, dir_fd=destination, follow_symlinks=False).st_mode):
                raise ImageError(f"copy {os.fsdecode(path)}: there is a directory in its place")
            remove_tree(destination, new_name)
        except FileNotFoundError:
            pass
        if status.st_nlink > 1 and self._link(destination, new_name, status):
            return
        if stat.S_ISREG(status.st_mode):
            self._file(source, name, destination, new_name, path)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), new_name, dir_fd=destination)
            self._stamp(destination, new_name, status)
        elif not self.rules.special or stat.S_ISSOCK(status.st_mode):
            if not self.rules.special:
                raise ImageError(f"copy {os.fsdecode(path)}: neither a file, nor a directory, nor a link")
            return  # a socket means nothing without the process that listens on it
        else:
            os.mknod(new_name, status.st_mode, status.st_rdev, dir_fd=destination)
            self._stamp(destination, new_name, status)
            self._node_mode(destination, new_name, status)
        if status.st_nlink > 1 and len(self._held) < _MAX_HELD:
            held = os.dup(destination)
            self._held.append(held)
            self._links[status.st_dev, status.st_ino] = (held, new_name)

    def _link(self, destination: int, new_name: bytes, status: os.stat_result) -> bool:
        found = self._links.get((status.st_dev, status.st_ino))
        if found is None:
            return False
        os.link(found[1], new_name, src_dir_fd=found[0], dst_dir_fd=destination, follow_symlinks=False)
        return True

    def _stamp(self, directory: int, name: bytes, status: os.stat_result) -> None:
        uid, gid = self.rules.owner or (status.st_uid, status.st_gid)
        os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)

    def _node_mode(self, directory: int, name: bytes, status: os.stat_result) -> None:
        """Give a node its mode; never what a link leads to that somebody has put in its place."""
        node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            if stat.S_IFMT(os.fstat(node).st_mode) != stat.S_IFMT(status.st_mode):
                raise ImageError(f"copy {os.fsdecode(name)}: something else has taken its place meanwhile")
            os.chmod(f"/proc/self/fd/{node}", stat.S_IMODE(status.st_mode))
        finally:
            os.close(node)

    def _file(self, source: int, name: bytes, destination: int, new_name: bytes, path: bytes) -> None:
        reader = open_file(source, name, path)
        try:
            self.file(reader, destination, new_name, path)
        finally:
            os.close(reader)

    def file(self, reader: int, destination: int, new_name: bytes, path: bytes) -> None:
        """Copy the open regular file `reader` to `new_name` in `destination`, where nothing is of that
        name."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        before = os.fstat(reader)
        writer = os.open(new_name, flags, 0o600, dir_fd=destination)
        try:
            copy_bytes(reader, writer)
            self.attributes(reader, writer)
        finally:
            os.close(writer)
        after = os.fstat(reader)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ImageError(f"copy {os.fsdecode(path)}: the file was changed while it was read")


def holds_wanted(directory: int, path: bytes, wanted: Callable[[bytes, bool], bool] | None) -> bool:
    """Whether something below a directory that is not wanted is wanted all the same."""
    assert wanted is not None
    with os.scandir(directory) as found:
        items = [(os.fsencode(item.name), item.is_dir(follow_symlinks=False)) for item in found]
    for name, is_directory in items:
        inner = path + b"/" + name
        if wanted(inner, is_directory):
            return True
        if is_directory:
            below = os.open(name, _DIRECTORY, dir_fd=directory)
            try:
                if holds_wanted(below, inner, wanted):
                    return True
            finally:
                os.close(below)
    return False


def open_file(directory: int, name: bytes, path: bytes) -> int:
    """Open the regular file `name` for reading: no link is followed, no fifo or device waits or acts."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError(f"copy {os.fsdecode(path)}: not a regular file")
    return descriptor


def make_directory(parent: int, name: bytes) -> int:
    """The directory `name` in `parent`, made (0755) if missing; a link or file there is an `ImageError`."""
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        pass
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent)
    except NotADirectoryError as error:
        raise ImageError(f"copy: {os.fsdecode(name)} is there and not a directory") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ImageError(f"copy: {os.fsdecode(name)} is there and not a directory") from error
        raise


def copy_bytes(reader: int, writer: int) -> None:
    """Copy a file's content inside the kernel, sharing blocks where the file system can."""
    while True:
        try:
            if not os.copy_file_range(reader, writer, _CHUNK):
                break
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            while os.sendfile(writer, reader, None, _CHUNK):
                pass
            break
    # A file of /proc or a FUSE has no size and copy_file_range gives nothing: read what is left.
    while data := os.read(reader, 1 << 16):
        view = memoryview(data)
        while view:
            view = view[os.write(writer, view) :]
