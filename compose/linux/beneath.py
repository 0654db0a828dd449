"""Opening and removing names below a directory descriptor that hostile names and links cannot leave.

``openat2(2)`` (Linux 5.6) resolves a whole path inside the kernel, so that there is no window between looking
at a component and using it. Nothing here ever joins strings to a path of the host.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from compose.linux.libc import function
from compose.linux.numbers import SYS_openat2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEST = 48  # directories held open at once while a tree is removed


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_syscall = function("syscall", ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t,
                    result=ctypes.c_long)  # fmt: skip
_hows: dict[tuple[int, int, int], _How] = {}


def openat2(directory: int, path: str | bytes, flags: int, *, resolve: int = 0, mode: int = 0) -> int:
    """Open `path` relative to the descriptor `directory` under the rules `resolve`; raises `OSError`.

    EXDEV or ELOOP is what a path gets that would leave the directory. The descriptor is close-on-exec.
    """
    path = os.fsencode(path)
    if b"\0" in path:
        raise OSError(errno.EINVAL, f"open {os.fsdecode(path)!r}: a NUL in a path")
    key = (flags, resolve, mode)
    how = _hows.get(key)
    if how is None:
        how = _hows[key] = _How(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(32):
        found = _syscall(SYS_openat2, directory, path or b".", ctypes.addressof(how), ctypes.sizeof(how))
        if found >= 0:
            return int(found)
        number = ctypes.get_errno()
        if number != errno.EAGAIN:  # EAGAIN: something was renamed meanwhile and ".." could not be trusted
            break
    raise OSError(number, f"open {os.fsdecode(path)}: {os.strerror(number)}")


def open_in_root(root: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Open `path` as a process whose root directory is `root` would: links are followed, never out of it.

    Magic links (those of /proc) are not followed at all.
    """
    path = os.fsencode(path).lstrip(b"/")
    return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS, mode=mode)


def open_beneath(directory: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Open `path` below `directory`; a link or ``..`` that leaves it is an error (EXDEV)."""
    return openat2(directory, path, flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS, mode=mode)


def open_plain(directory: int, path: str | bytes, flags: int, mode: int = 0) -> int:
    """Open `path` below `directory`, where no component may be a symbolic link (ELOOP)."""
    rules = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS
    return openat2(directory, path, flags, resolve=rules, mode=mode)


def remove_path(path: str) -> None:
    """`remove_tree` by path; whatever is missing is not an error. The directories above are trusted."""
    try:
        parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_tree(parent, os.fsencode(os.path.basename(path)))
    finally:
        os.close(parent)


def remove_tree(directory: int, name: bytes) -> None:
    """Remove `name` in `directory`, whatever it is, without following a link and without recursion.

    A tree may be nested deeper than descriptors or the stack allow: a subtree found below 48 levels is first
    moved up beside its ancestor. A missing name is not an error, and neither is what somebody else removes
    meanwhile.
    """
    try:
        _remove(directory, name)
    except FileNotFoundError:
        return


def _remove(directory: int, name: bytes) -> None:
    try:
        os.unlink(name, dir_fd=directory)
        return
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise
    descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        number = 0
        while _empty(descriptor, number):  # what was moved up is found by the next round
            number += 1
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=directory)


def _empty(top: int, round_number: int) -> bool:
    """Remove what is in `top`; true if subtrees were moved up to it and wait there."""
    moved = 0
    stack: list[tuple[int, bytes, Iterator[tuple[bytes, bool]]]] = [(top, b"", iter(_children(top)))]
    try:
        while stack:
            current, own_name, children = stack[-1]
            name, is_directory = next(children, (b"", False))
            try:
                if not name:
                    stack.pop()
                    if stack:
                        os.close(current)
                        os.rmdir(own_name, dir_fd=stack[-1][0])
                elif not is_directory:
                    os.unlink(name, dir_fd=current)
                elif len(stack) < _NEST:
                    child = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
                    stack.append((child, name, iter(_children(child))))
                else:
                    up = b".deep-%d-%d" % (round_number, moved)
                    os.rename(name, up, src_dir_fd=current, dst_dir_fd=top)
                    moved += 1
            except FileNotFoundError:  # somebody else was quicker
                continue
    finally:
        for descriptor, _, _ in stack[1:]:
            os.close(descriptor)
    return moved > 0


def _children(directory: int) -> list[tuple[bytes, bool]]:
    with os.scandir(directory) as found:
        return [(os.fsencode(item.name), item.is_dir(follow_symlinks=False)) for item in found]
