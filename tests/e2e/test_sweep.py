"""A few of the faults that ``python -m tests.sweep`` makes by the hundred: such as come in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import sweep
from tests.support.sweep import Point

if TYPE_CHECKING:
    from tests.support.command import Stack

POINTS = {
    "command": (
        Point("up", "command", "rename", 9),
        Point("build", "command", "rename", 2, "ENOSPC"),
    ),
    "keeper": (
        Point("down", "keeper", "sendmsg", 2),
        Point("build", "keeper", "mkdir", 20, "ENOSPC"),
        Point("run-first", "keeper", "socketpair", 1, "EMFILE"),
    ),
    "monitor": (
        Point("restart", "monitor", "setns", 2),
        Point("stop", "monitor", "rename", 1, "ENOSPC"),
    ),
    "netd": (
        Point("up", "netd", "epoll_ctl", 2),
        Point("up", "netd", "getdents64", 1, "EIO"),
    ),
    "inside": (
        Point("up", "inside", "pivot_root", 1),
        Point("run-first", "inside", "mount", 1, "ENOMEM"),
    ),
    "other": (
        Point("create", "other", "mount", 3),
        Point("up", "other", "sendto", 5, "ENOBUFS"),
    ),
}


@pytest.mark.parametrize("role", POINTS)
def test_faults_at_any_system_call_are_recovered_from(stack: Stack, role: str) -> None:
    """Whoever is hit: the command, its helpers, what enters a container, or who makes its networks."""
    sweep.prepare(stack)
    for number, point in enumerate(POINTS[role]):
        assert sweep.inject(stack, point, mend=bool(number % 2)).fired, f"{point} did not come"
