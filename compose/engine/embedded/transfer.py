"""Copying between the file systems of the host and of a container, by the rules of ``docker cp``.

    Side(root, where)      the host, whose root is "/", or a container, seen from outside
    copy(a, path, b, path)

Both sides are treated alike: a path is resolved beneath the root's descriptor and ends as a directory
descriptor and a last name, and everything below is reached from there without following links. So whatever
a container does to its directories meanwhile, nothing outside of it is read, and nothing outside of what the
user named is written.

    source        destination          is copied to
    file, link    a directory          the directory, under its own name
    file, link    anything else        that name (not if it ends in "/")
    directory     a directory          the directory, under its own name; its content, if it ends in "/."
    directory     nothing              that name
    directory     a file               an error
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ContainerError
from compose.images import tar, trees
from compose.images.unpack import Unpacker
from compose.linux.beneath import open_in_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from compose.images.trees import Pair

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST_CHAIN = 40


class Side(NamedTuple):
    """One of the two file systems."""

    root: int
    """A descriptor of its root directory."""
    where: str
    """How messages call it: "" for the host, ``container web-1``."""


class Place(NamedTuple):
    """Where a path leads."""

    parent: int
    """A descriptor of the directory above."""
    name: bytes
    """Empty for the root itself."""
    mode: int
    """``st_mode``; 0 when there is nothing."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


class Rules(NamedTuple):
    """How the copy differs from the source."""

    owner: tuple[int, int] | None = None
    """None: as in the source."""
    plain: bool = False
    """Without what gives privileges on another machine: setuid and setgid bits, capabilities, devices."""
    follow: bool = False
    """Copy what a link at the source leads to."""
    warn: Callable[[str], None] = lambda text: None


def copy(source: Side, source_path: str, target: Side, target_path: str, rules: Rules) -> None:
    """Copy a file or a tree. Raises `ContainerError`, `ImageError`."""
    with contextlib.ExitStack() as stack:
        found = _source(stack, source, source_path, rules)
        place = stack.enter_context(_resolved(target, target_path))
        content_only = found.is_directory and (_is_content(source_path) or not found.name)
        name = b"" if content_only else _shown(found, source_path, rules)
        directory, name = _destination(stack, found, place, target_path, name)
        _put(_entries(found, name), directory, rules)


def archive(source: Side, path: str, output: Callable[[bytes], object], *, follow: bool = False) -> None:
    """Write a file or a tree to `output` as a tar archive. Raises `ContainerError`."""
    with contextlib.ExitStack() as stack:
        found = _source(stack, source, path, Rules(follow=follow))
        shown = b"." if _is_content(path) else _shown(found, path, Rules(follow=follow))
        trees.write(trees.walk(found.parent, found.name, shown), output)


def extract(stream: tar.Readable, target: Side, path: str, rules: Rules) -> None:
    """Unpack a tar archive into a directory that is there. Raises `ContainerError`, `ImageError`."""
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(_resolved(target, path))
        if not place.is_directory:
            raise ContainerError(f"destination {_of(target, path)} must be a directory")
        _put(tar.read(stream), _open(stack, place), rules)


def _source(stack: contextlib.ExitStack, side: Side, path: str, rules: Rules) -> Place:
    follow = rules.follow or path.endswith(("/", "/.")) or path in ("", ".")
    found = stack.enter_context(_resolved(side, path, follow=follow))
    if not found.mode:
        raise ContainerError(f"no such file or directory: {_of(side, path)}")
    if path.endswith(("/", "/.")) and not found.is_directory:
        raise ContainerError(f"not a directory: {_of(side, path)}")
    return found


def _shown(found: Place, path: str, rules: Rules) -> bytes:
    """The name under which the source arrives: its own, where a link was followed that of the link, unless
    that was asked for."""
    name = found.name if rules.follow else _base_and_above(os.fsencode(path))[1]
    return name or found.name or b"."


def _destination(
    stack: contextlib.ExitStack, found: Place, place: Place, path: str, name: bytes
) -> tuple[int, bytes]:
    """The directory to write in, and the name there; an empty one for the directory itself."""
    if place.is_directory:
        return _open(stack, place), name
    if found.is_directory and place.mode:
        raise ContainerError(f"cannot copy a directory to the file {path}")
    if path.endswith(("/", "/.")) and (place.mode or not found.is_directory):
        raise ContainerError(f"no such directory: {path}")
    return place.parent, place.name


def _entries(found: Place, name: bytes) -> Iterator[Pair]:
    """The tree under its new name; a directory that is there keeps its own attributes."""
    pairs = trees.walk(found.parent, found.name, name)
    if not name and found.is_directory:
        next(pairs)
    return pairs


def _put(pairs: Iterable[Pair], directory: int, rules: Rules) -> None:
    unpacker = Unpacker(directory, keep_kinds=True, owner=rules.owner)
    with contextlib.closing(unpacker):
        for entry, content in pairs:
            if rules.plain:
                if entry.kind in (stat.S_IFCHR, stat.S_IFBLK):
                    rules.warn(f"{os.fsdecode(entry.name)} is a device and was left out")
                    continue
                entry = _without_privileges(entry)
            unpacker.add(entry, content)
        unpacker.finish()


def _without_privileges(entry: tar.Entry) -> tar.Entry:
    xattrs = {name: value for name, value in entry.xattrs.items() if not name.startswith("security.")}
    mode = entry.mode if entry.kind == stat.S_IFDIR else entry.mode & ~(stat.S_ISUID | stat.S_ISGID)
    return entry._replace(mode=mode, xattrs=xattrs)


@contextlib.contextmanager
def _resolved(side: Side, path: str, *, follow: bool = True) -> Iterator[Place]:
    """Where a path leads beneath the root; links above its last name are followed in any case."""
    rest = _base_and_above(os.fsencode(path))
    parent = -1
    try:
        for _ in range(_LONGEST_CHAIN):
            above, name = rest
            parent = _parent(side, above, path)
            mode, link = _look(parent, name)
            if not (follow and stat.S_ISLNK(mode)):
                yield Place(parent, name, mode)
                return
            os.close(parent)
            parent = -1
            rest = _base_and_above(link if link.startswith(b"/") else above + b"/" + link)
        raise ContainerError(f"too many links: {_of(side, path)}")
    finally:
        if parent >= 0:
            os.close(parent)


def _base_and_above(path: bytes) -> tuple[bytes, bytes]:
    """The directory of a path, from the root, and the last name; a last ``..`` is part of the former."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if not parts or parts[-1] == b"..":
        return b"/" + b"/".join(parts), b""
    return b"/" + b"/".join(parts[:-1]), parts[-1]


def _parent(side: Side, above: bytes, path: str) -> int:
    try:
        return open_in_root(side.root, above, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise ContainerError(f"no such directory: {_of(side, os.fsdecode(above))}") from None
        raise ContainerError(f"{_of(side, path)}: {os.strerror(error.errno or 0)}") from None


def _look(parent: int, name: bytes) -> tuple[int, bytes]:
    """Mode of what is there, and what it says if it is a link; by one descriptor, so that both are true."""
    if not name:
        return os.fstat(parent).st_mode, b""
    try:
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return 0, b""
    try:
        mode = os.fstat(found).st_mode
        return mode, os.readlink(b"", dir_fd=found) if stat.S_ISLNK(mode) else b""
    finally:
        os.close(found)


def _open(stack: contextlib.ExitStack, place: Place) -> int:
    if not place.name:
        return place.parent
    try:
        descriptor = os.open(place.name, _DIRECTORY, dir_fd=place.parent)
    except OSError as error:
        raise ContainerError(f"open {os.fsdecode(place.name)}: {error.strerror}") from None
    stack.callback(os.close, descriptor)
    return descriptor


def _is_content(path: str) -> bool:
    return path.endswith("/.") or path in ("", ".", "/")


def _of(side: Side, path: str) -> str:
    return f"{path} in {side.where}" if side.where else path
