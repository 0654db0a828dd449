"""`fake_isolation` in which a process that enters a container is held up there until the container ends."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

from compose.errors import ContainerError
from tests.support.fake_isolation import Stdio, create, find, launch, prepare, remove_base

if TYPE_CHECKING:
    from typing import NoReturn

    from compose.runtime.spec import Process
    from tests.support.fake_isolation import Cgroup

__all__ = ["Stdio", "create", "enter", "find", "launch", "prepare", "remove_base"]


def enter(pid: int, process: Process, stdio: Stdio, *, pidfd: int, cgroup: Cgroup, seccomp: str) -> NoReturn:
    """Make the file that the process is called after, and wait."""
    with open(process["args"][0], "w"):
        pass
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    raise ContainerError("it has ended")
