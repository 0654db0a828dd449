"""Places in an image's tree: directories made on the way, owners by name, where a link at the end leads."""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from typing import TYPE_CHECKING

from compose.linux.beneath import open_in_root

if TYPE_CHECKING:
    from compose.images.build.parser import Place

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_MOST_LINKS = 40


def make_directories(root: int, path: bytes, owner: tuple[int, int] | None, place: Place) -> int:
    """A descriptor of the directory `path` in the tree `root`; what is missing is made, 0755, for `owner`.

    Raises `BuildError` when something else is in the way.
    """
    parts = [part for part in path.split(b"/") if part]
    try:
        found = open_in_root(root, b"", _DIRECTORY)
        for length in range(1, len(parts) + 1):
            below = _enter(root, found, b"/".join(parts[:length]), parts[length - 1], owner)
            os.close(found)
            found = below
    except OSError as error:
        shown = os.fsdecode(path)
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ELOOP):
            raise place.error(f"/{shown.lstrip('/')} goes through something that is no directory") from error
        raise place.error(f"make {shown}: {os.strerror(error.errno or 0)}") from error
    return found


def _enter(root: int, parent: int, path: bytes, name: bytes, owner: tuple[int, int] | None) -> int:
    try:
        return open_in_root(root, path, _DIRECTORY)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=parent)
        found = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        os.fchmod(found, 0o755)
        if owner is not None:
            os.fchown(found, *owner)
        return found


def is_directory(root: int, path: bytes) -> bool:
    """Whether `path`, links followed, is a directory."""
    try:
        os.close(open_in_root(root, path, _DIRECTORY))
    except OSError:
        return False
    return True


def final_path(root: int, path: bytes, place: Place) -> bytes:
    """Where a file written to `path` ends up: links at its end are followed within the tree."""
    for _ in range(_MOST_LINKS):
        above, name = posixpath.split(path.rstrip(b"/"))
        try:
            directory = open_in_root(root, above, _DIRECTORY)
        except OSError:
            return path
        try:
            if not stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                return path
            target = os.readlink(name, dir_fd=directory)
        except OSError:
            return path
        finally:
            os.close(directory)
        # ".." of a directory that was itself reached by a link is resolved by the kernel, not here
        path = target if target.startswith(b"/") else above + b"/" + target
    raise place.error(f"{os.fsdecode(path)}: too many links")


def owner(root: int, text: str, place: Place) -> tuple[int, int]:
    """The numbers of ``user[:group]`` in the image; without a group the one with the user's name or number.

    Raises `BuildError` for names that the image does not know.
    """
    from compose.runtime.container.steps import Failure
    from compose.runtime.container.users import decimal, resolve

    user, _, group = text.partition(":")
    try:
        if group:
            found = resolve({"username": f"{user or 0}:{group}"}, root)
            return found.uid, found.gid
        number = decimal(user)
        if number is not None:
            return number, number
        found = resolve({"username": user}, root)
    except Failure as error:
        raise place.error(f"--chown={text}: the image has no such user or group") from error
    try:
        return found.uid, resolve({"username": f"{user}:{user}"}, root).gid
    except Failure:
        return found.uid, found.gid
