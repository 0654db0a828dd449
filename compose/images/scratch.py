"""Directories for what is being made, whose owner may be killed at any moment.

A scratch directory is named ``BOOT-PID-START-COUNT``: it is dead as soon as the machine was restarted or the
process is gone (another process with the same number started at another time). Its layers in use are the
lines of its file ``lease``, so a dead command holds nothing.
"""

from __future__ import annotations

import itertools
import os

from compose.linux.beneath import remove_tree
from compose.runtime import records

_counter = itertools.count()


def _boot() -> str:
    return records.boot_id().replace("-", "")[:12]


def new_name() -> str:
    """A name for a scratch directory of this process."""
    pid = os.getpid()
    return f"{_boot()}-{pid}-{records.start_time(pid)}-{next(_counter)}"


def is_alive(name: str) -> bool:
    """Whether the process that made the scratch directory `name` still runs."""
    boot, *numbers = name.split("-")
    if boot != _boot() or len(numbers) != 3 or not all(number.isdecimal() for number in numbers):
        return False
    return records.lives(int(numbers[0]), int(numbers[1]))


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
