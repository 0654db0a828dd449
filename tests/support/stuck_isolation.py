"""`fake_isolation` in which a process that enters a container is stopped there until it is killed."""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

from tests.support.fake_isolation import Launched, Regular, Stdio, create, find, launch, prepare, remove_base

if TYPE_CHECKING:
    from compose.runtime.container.birth import Birth
    from compose.runtime.spec import Process
    from tests.support.fake_isolation import Cgroup

__all__ = ["Regular", "Stdio", "create", "enter", "find", "launch", "prepare", "remove_base"]


def enter(
    pid: int, process: Process, stdio: Stdio, *, pidfd: int, cgroup: Cgroup, seccomp: str, birth: Birth
) -> Launched:
    """Make the file that the process is called after, and wait for somebody to kill it."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(1)
    born = Launched(child)
    birth.at(born.pidfd)
    with open(process["args"][0], "w"):
        pass
    poll = select.poll()
    poll.register(born.pidfd, select.POLLIN)
    poll.poll()
    birth.at(-1)
    return born
