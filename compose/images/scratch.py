"""Directories for what is being made, whose owner may be killed at any moment.

A scratch directory is named ``BOOT-PID-START-COUNT``: it is dead as soon as the machine was restarted or the
process is gone (another process with the same number started at another time). Its layers in use are the
lines of its file ``lease``, so a dead command holds nothing.
"""

from __future__ import annotations

import itertools
import os

from compose.linux.beneath import remove_tree

_counter = itertools.count()


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip().replace("-", "")[:12]


def start_time(pid: int) -> str:
    """When the process started, in clock ticks after boot; empty when there is none, or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()


def new_name() -> str:
    """A name for a scratch directory of this process."""
    pid = os.getpid()
    return f"{boot_id()}-{pid}-{start_time(pid)}-{next(_counter)}"


def is_alive(name: str) -> bool:
    """Whether the process that made the scratch directory `name` still runs."""
    parts = name.split("-")
    if len(parts) != 4 or not parts[1].isdigit():
        return False
    return parts[0] == boot_id() and parts[2] == start_time(int(parts[1])) != ""


def dead(scratch: str) -> list[str]:
    """The names in the directory `scratch` whose owner is gone."""
    return [name for name in os.listdir(scratch) if not is_alive(name)]


def leased(scratch: str) -> set[str]:
    """The diff ids that living commands use."""
    found: set[str] = set()
    for name in os.listdir(scratch):
        if is_alive(name):
            try:
                with open(f"{scratch}/{name}/lease", encoding="ascii") as file:
                    found.update(file.read().split())
            except FileNotFoundError:
                continue
    return found


def remove(path: str) -> None:
    """Remove the directory `path` and all in it; nothing is followed, a missing one is fine."""
    parent, name = os.path.split(path)
    descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(descriptor, os.fsencode(name))
    finally:
        os.close(descriptor)
