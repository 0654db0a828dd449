"""The one door from the processes around a container to what puts a process into it.

Keeper and monitor load the module of this name, or the one that a test names in its place.
"""

from __future__ import annotations

from compose.runtime.cgroups import Cgroup, create, find, prepare, remove_base
from compose.runtime.container.child import Launched, Stdio
from compose.runtime.container.enter import enter
from compose.runtime.container.launch import launch
from compose.runtime.container.nursery import Regular

__all__ = [
    "Cgroup",
    "Launched",
    "Regular",
    "Stdio",
    "create",
    "enter",
    "find",
    "launch",
    "prepare",
    "remove_base",
]
