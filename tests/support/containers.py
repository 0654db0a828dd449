"""Containers for tests of the runtime: a busybox each, without images, networks or an engine."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
import time
from typing import TYPE_CHECKING, Any

from compose.errors import ComposeError
from compose.linux import inotify
from compose.runtime import records
from compose.runtime.attachment import Attachment
from compose.runtime.client import Keeper
from compose.runtime.container.oci import default_oci
from compose.runtime.output import logs
from tests.support import processes
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compose.runtime.spec import ContainerSpec, ContainerState
    from compose.state.paths import Paths

PROJECT = "testing"
FAKE_NETD = "tests.support.fake_netd"
PATIENCE = MOMENT
_LOOK_AGAIN = 0.5

ISOLATION = "compose.runtime.supervision.isolation"


class Stand:
    """A project with a keeper, and helpers to make and observe its containers."""

    def __init__(self, paths: Paths, root: str, isolation: str = ISOLATION) -> None:
        self.paths = paths
        self.root = root
        self.isolation = isolation
        self.keeper = self.ensure()

    def ensure(self) -> Keeper:
        return Keeper.ensure(self.paths, PROJECT, netd=FAKE_NETD, isolation=self.isolation)

    def spec(self, *args: str, terminal: bool = False, **changes: Any) -> ContainerSpec:
        """A spec.json that is not written yet."""
        identity = secrets.token_hex(32)
        directory = self.paths.container(identity)
        for name in ("upper", "work"):
            os.makedirs(f"{directory}/{name}")
        spec: ContainerSpec = {
            "version": 1,
            "id": identity,
            "name": f"{PROJECT}-{identity[:6]}",
            "project": PROJECT,
            "oci": default_oci(args, terminal=terminal),
            "rootfs": {"lower": [self.root], "upper": f"{directory}/upper", "work": f"{directory}/work"},
            "network_namespace": "",
            "stop_signal": "",
            "stop_grace_period": 10.0,
            "restart": {"name": "no", "max_attempts": 0},
            "healthcheck": None,
            "logging": {"driver": "json-file", "max_size": 0, "max_files": 1},
            "stdin_open": False,
            "seccomp": "",
        }
        spec.update(changes)  # type: ignore[typeddict-item]
        return spec

    def make(self, *args: str, terminal: bool = False, **changes: Any) -> str:
        """Write the spec of a container; its id."""
        spec = self.spec(*args, terminal=terminal, **changes)
        records.write_spec(self.paths, spec)
        return spec["id"]

    def run(self, *args: str, terminal: bool = False, **changes: Any) -> str:
        """Start a container; its id."""
        identity = self.make(*args, terminal=terminal, **changes)
        self.keeper.start(identity)
        return identity

    def shell(self, script: str, **changes: Any) -> str:
        """Start a container with a shell script; its id."""
        return self.run("sh", "-c", script, **changes)

    def state(self, identity: str) -> ContainerState:
        return records.recorded_state(self.paths, identity)

    def writer(self, identity: str) -> int | None:
        """What writes to process 1, for the caller to close."""
        attachment = Attachment(self.keeper, identity)
        attachment.close()
        return attachment.writer

    def lines(self, identity: str, stream: int | None = None) -> list[bytes]:
        """What the container has written by now."""
        found = logs.read(f"{self.paths.container(identity)}/log")
        return [line for _time, which, line in found if stream in (None, which)]

    def until(self, identity: str, wanted: Callable[[ContainerState], bool]) -> ContainerState:
        """Wait for a state, by the kernel's notice of changes of state.json."""
        found = wait_for(self.paths.container(identity), lambda: self._matching(identity, wanted))
        assert isinstance(found, dict)
        return found  # type: ignore[return-value]

    def until_written(self, identity: str, text: bytes) -> None:
        """Wait until the container has written a line."""
        wait_for(f"{self.paths.container(identity)}/log", lambda: text in self.lines(identity))

    def until_lines(self, identity: str, count: int) -> None:
        """Wait until the container has written so many lines."""
        log = f"{self.paths.container(identity)}/log"
        wait_for(log, lambda: len(self.lines(identity)) >= count)

    def size(self, identity: str) -> int:
        """Bytes in the first segment of the log."""
        try:
            return os.path.getsize(f"{self.paths.container(identity)}/log/000001.raw")
        except FileNotFoundError:
            return 0

    def until_size(self, identity: str, goal: int) -> None:
        """Wait until the first segment of the log has as many bytes."""
        wait_for(f"{self.paths.container(identity)}/log", lambda: self.size(identity) >= goal)

    def _matching(self, identity: str, wanted: Callable[[ContainerState], bool]) -> ContainerState | None:
        state = self.state(identity)
        return state if wanted(state) else None

    def keeper_pid(self) -> int:
        return int(self.keeper._ask("ping")["pid"])

    def close(self) -> None:
        """End everything; wait for what was orphaned; remove the containers.

        What runs is stopped first: a keeper that has just begun may not know of it yet.
        """
        for identity in os.listdir(self.paths.containers) if os.path.isdir(self.paths.containers) else []:
            with contextlib.suppress(ComposeError):
                if self.state(identity).get("status") in records.RUNNING:
                    self.keeper.stop(identity, grace=0)
        self.keeper.shutdown(force=True)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        shutil.rmtree(self.paths.containers, ignore_errors=True)


def wait_for(directory: str, look: Callable[[], object]) -> object:
    """Look again whenever something changes in a directory, until there is something.

    Now and then without a change too: some kernels say nothing when splice(2) writes.
    """
    watch = inotify.Inotify()
    deadline = time.monotonic() + PATIENCE
    try:
        watch.add(directory, inotify.MODIFY | inotify.MOVED_TO | inotify.CREATE | inotify.DELETE)
        poll = select.poll()
        poll.register(watch.descriptor, select.POLLIN)
        while not (found := look()):
            if poll.poll(_LOOK_AGAIN * 1000):
                watch.read()
            elif time.monotonic() > deadline:
                raise TimeoutError(f"it does not happen in {directory}")
        return found
    finally:
        watch.close()


def wait_for_end(pids: Sequence[int], seconds: float = PATIENCE) -> None:
    """Wait until processes have ended, those of containers whose helpers were killed too."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            try:
                while not select.select([pidfd], [], [], 1.0)[0]:
                    processes.reap_adopted()
                    assert time.monotonic() < deadline, f"process {pid} runs on"
            finally:
                os.close(pidfd)
