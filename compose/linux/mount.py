"""Mounts: the old calls (mount, umount2, pivot_root) and the descriptor-based ones.

With the new calls a mount is made or cloned as a descriptor, changed while nobody can see it, and attached
last; every step names its object by descriptor, so that no path is looked up twice.
"""

from __future__ import annotations

import os
import struct

from compose.linux.libc import syscall
from compose.linux.numbers import (
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fsopen,
    SYS_mount,
    SYS_mount_setattr,
    SYS_move_mount,
    SYS_open_tree,
    SYS_pivot_root,
    SYS_umount2,
)

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_DIRSYNC = 128
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24

MNT_DETACH = 2

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC

MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOVE_MOUNT_BENEATH = 0x200

FSOPEN_CLOEXEC = 1
FSMOUNT_CLOEXEC = 1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    syscall(
        SYS_mount,
        _bytes(source),
        os.fsencode(target),
        _bytes(kind),
        flags,
        _bytes(data),
        what=f"mount {target}",
    )


def umount2(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    syscall(SYS_umount2, os.fsencode(target), flags, what=f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    syscall(SYS_pivot_root, os.fsencode(new_root), os.fsencode(put_old), what="pivot_root")


def open_tree(directory: int, path: str, flags: int) -> int:
    """open_tree(2): a descriptor of the mount at `path`, with OPEN_TREE_CLONE of a detached copy."""
    return syscall(
        SYS_open_tree, directory, os.fsencode(path), flags | OPEN_TREE_CLOEXEC, what=f"open_tree {path}"
    )


def clone_tree(descriptor: int, *, recursive: bool = False) -> int:
    """A detached copy of the mount (and, if `recursive`, what lies below) that `descriptor` stands for."""
    return open_tree(descriptor, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0))


def move_mount(source: int, target: int) -> None:
    """move_mount(2): attach the detached mount `source` at the file or directory `target`."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    syscall(SYS_move_mount, source, b"", target, b"", flags, what="move_mount")


def move_mount_beneath(source: int, target: int) -> None:
    """move_mount(2), Linux 6.5: attach the detached mount `source` beneath the mount `target`, unseen."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH | MOVE_MOUNT_BENEATH
    syscall(SYS_move_mount, source, b"", target, b"", flags, what="move_mount beneath")


def fsopen(kind: str) -> int:
    """fsopen(2): the context in which a file system is described before it is made."""
    return syscall(SYS_fsopen, kind.encode(), FSOPEN_CLOEXEC, what=f"fsopen {kind}")


def fsconfig_string(context: int, key: str, value: str) -> None:
    """fsconfig(2): set ``key=value``; the kernel takes values of up to 255 bytes."""
    syscall(
        SYS_fsconfig,
        context,
        FSCONFIG_SET_STRING,
        key.encode(),
        os.fsencode(value),
        0,
        what=f"fsconfig {key}={value}",
    )


def fsconfig_flag(context: int, key: str) -> None:
    """fsconfig(2): set the option `key` that has no value."""
    syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, key.encode(), None, 0, what=f"fsconfig {key}")


def fsconfig_create(context: int) -> None:
    """fsconfig(2): make the file system that the context describes."""
    syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, None, None, 0, what="fsconfig create")


def fsmount(context: int, attributes: int = 0) -> int:
    """fsmount(2): a detached mount of the file system made in `context`."""
    return syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes, what="fsmount")


def new_mount(kind: str, options: dict[str, str] | None = None, attributes: int = 0, source: str = "") -> int:
    """A detached mount of a new file system; an option with an empty value is a flag."""
    context = fsopen(kind)
    try:
        fsconfig_string(context, "source", source or kind)
        for key, value in (options or {}).items():
            if value:
                fsconfig_string(context, key, value)
            else:
                fsconfig_flag(context, key)
        fsconfig_create(context)
        return fsmount(context, attributes)
    finally:
        os.close(context)


def mount_setattr(
    directory: int,
    path: str,
    *,
    flags: int = 0,
    attr_set: int = 0,
    attr_clr: int = 0,
    propagation: int = 0,
) -> None:
    """mount_setattr(2): change a mount's attributes, with AT_RECURSIVE of the tree below as well."""
    attributes = struct.pack("=QQQQ", attr_set, attr_clr, propagation, 0)
    syscall(
        SYS_mount_setattr,
        directory,
        os.fsencode(path),
        flags,
        attributes,
        len(attributes),
        what=f"mount_setattr {path}",
    )


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)
