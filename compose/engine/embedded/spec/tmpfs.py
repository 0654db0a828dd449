"""tmpfs: the short form ``PATH:OPTIONS`` and the long form of `volumes`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.errors import ContainerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEFAULTS = ("nosuid", "nodev", "noexec")
_UNDONE = {"exec": "noexec", "suid": "nosuid", "dev": "nodev"}
_FLAGS = frozenset(
    {
        *("ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "sync", "async", "dirsync"),
        *("atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime"),
        *("nostrictatime", "defaults", "private", "rprivate", "shared", "rshared", "slave", "rslave"),
    }
)
_VALUES = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"})
_WITHOUT_EFFECT = frozenset({"sync", "dirsync"})
"""Taken, since they are valid; memory is never written back."""


def short(entry: str) -> tuple[str, list[str]]:
    """``/run:size=64m,mode=1777`` -> the target and Docker's options with these; unknown ones raise."""
    target, _, text = entry.partition(":")
    options = [option for option in text.split(",") if option]
    for option in options:
        key, equals, value = option.partition("=")
        if key not in (_VALUES if equals else _FLAGS) or (equals and not value):
            raise ContainerError(
                f"tmpfs {target}: {option} is not an option of a tmpfs",
                hint="write size=64m, mode=1777, uid=, gid=, nr_inodes=, exec, suid, ro",
            )
    return target, _with_defaults([option for option in options if option not in _WITHOUT_EFFECT])


def long(mount: Mapping[str, Any]) -> list[str]:
    """The options of a mount of type tmpfs."""
    tmpfs = mount.get("tmpfs") or {}
    options = [f"size={tmpfs['size']}"] if tmpfs.get("size") else []
    if tmpfs.get("mode"):
        options.append(f"mode={int(tmpfs['mode']):o}")
    return _with_defaults([*options, *(["ro"] if mount.get("read_only") else [])])


def _with_defaults(options: Sequence[str]) -> list[str]:
    cleared = {_UNDONE[option] for option in options if option in _UNDONE}
    return [*(option for option in _DEFAULTS if option not in cleared), *options]
