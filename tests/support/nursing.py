"""A process that is born in a container from a nurse, again and again; only inside `in_monitor`."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from compose.runtime.container.nursery import Regular
from tests.support.command import PATIENCE

if TYPE_CHECKING:
    from compose.runtime.container.nursery import Nursery
    from compose.runtime.spec import Process
    from tests.support.launching import Running


class Nursed:
    """A context manager, in which there is one nurse after the other has ended."""

    def __init__(self, running: Running, process: Process) -> None:
        self._running = running
        self._regular = Regular(process, running.spec["seccomp"], running.cgroup)
        self.nursery: Nursery | None = None
        self.nurses = 0

    def __enter__(self) -> Nursed:
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()

    def dismiss(self) -> None:
        """End the nurse."""
        if self.nursery is not None:
            self.nursery.kill()
            assert wait_for(self.nursery.pidfd)
            self.nursery.reap()
            self.nursery = None

    def run(self) -> tuple[int, str]:
        """Exit code and output. Raises LookupError when nobody is born, OSError where there is no nurse."""
        nursery = self.nursery
        if nursery is None:
            launched = self._running.launched
            self._regular.look(launched.pid, launched.pidfd)
            nursery = self.nursery = self._regular.open(launched.pidfd)
            self.nurses += 1
        reader, writer = os.pipe2(os.O_CLOEXEC)
        nursery.ask(writer)
        os.close(writer)
        while not nursery.born():
            if not wait_for(nursery.fileno(), nursery.pidfd):
                raise TimeoutError
            if wait_for(nursery.pidfd, seconds=0) and not nursery.born():
                os.close(reader)
                self.dismiss()
                raise LookupError
        with os.fdopen(reader, "rb") as file:
            output = file.read().decode()
        code = os.waitstatus_to_exitcode(os.waitpid(nursery.born(), 0)[1])
        while nursery.hear():
            continue
        if nursery.is_stale():
            self.dismiss()
        return code, output


def wait_for(*descriptors: int, seconds: float = PATIENCE) -> bool:
    """Whether one of them can be read within some seconds."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
