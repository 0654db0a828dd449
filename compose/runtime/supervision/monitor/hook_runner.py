"""Runs the hooks of the host around a run (container/host_hooks.py) beside a monitor's other work."""

from __future__ import annotations

import os

from compose.linux import files as descriptors
from compose.linux.namespaces import reset_pid_namespace
from compose.linux.process import pidfd_open
from compose.linux.vfork import forking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from compose.runtime.container.host_hooks import Hook
    from compose.runtime.supervision.monitor.monitor import Monitor

    Then = Callable[[list[str]], None]

PATIENCE = 60.0
"""Seconds that a monitor gives a hook that names no timeout: a stop waits for it."""
_PROBLEM = b"\0"
"""What a line begins with that is ours, among those that hooks write."""
_MOST_KEPT = 8192
_STATUS = {"poststart": "running", "poststop": "stopped"}


class HookRunner:
    """The hooks of a monitor's container, one kind after the other; there may be none.

    A child of the monitor runs them. One whose monitor dies goes on; the successor runs what it cannot know
    to have been run, so that a hook may be run twice, never not at all.
    """

    __slots__ = ("_monitor", "_output", "_pid", "_pidfd", "_pipe", "_waiting")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._waiting: list[tuple[str, dict[str, Any], Then]] = []
        self._pid = 0
        self._pidfd = self._pipe = -1
        self._output = b""

    def has(self, kind: str) -> bool:
        """Whether there are hooks of this kind."""
        return bool((self._monitor.spec["oci"].get("hooks") or {}).get(kind))

    def run(self, kind: str, then: Then) -> None:
        """Run the hooks of one kind after those that are under way, then call `then` with what failed."""
        if not self.has(kind):
            then([])
            return
        self._waiting.append((kind, self._state(kind, self._monitor.pid), then))
        if len(self._waiting) == 1:
            self._begin()

    def run_at_once(self, kind: str) -> None:
        """Run the hooks of one kind to their end, for a container of which nothing runs."""
        if self.has(kind):
            from compose.runtime.container import host_hooks

            reset_pid_namespace()
            state = self._state(kind, 0)
            host_hooks.run(kind, self._hooks(kind), state, lambda text: self._failed(kind, text))

    def _state(self, kind: str, pid: int) -> dict[str, Any]:
        from compose.runtime.container import hooks  # few containers have any

        return hooks.state(self._monitor.spec, _STATUS[kind], pid)

    def _hooks(self, kind: str) -> list[Hook]:
        return [{"timeout": PATIENCE, **hook} for hook in self._monitor.spec["oci"]["hooks"][kind]]

    def _failed(self, kind: str, problem: str) -> None:
        self._monitor.event("hook_failed", hook=kind, error=problem)

    def _begin(self) -> None:
        from compose.runtime.container import host_hooks

        kind, state, _then = self._waiting[0]
        self._output = b""
        self._pipe, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        reset_pid_namespace()
        with forking:
            self._pid = os.fork()
            if self._pid == 0:
                _run_all(lambda: host_hooks.run(kind, self._hooks(kind), state, _tell), write)
        os.close(write)
        self._pidfd = pidfd_open(self._pid)
        self._monitor.loop.reader(self._pipe, self._read)
        self._monitor.loop.reader(self._pidfd, self._ended)

    def _read(self) -> None:
        try:
            data = os.read(self._pipe, 65536)
        except BlockingIOError:
            return
        if not data:
            self._monitor.loop.forget(self._pipe)
        self._output = (self._output + data)[-_MOST_KEPT:]

    def _ended(self) -> None:
        os.waitpid(self._pid, 0)
        self._read()
        for descriptor in (self._pidfd, self._pipe):
            self._monitor.loop.forget(descriptor)
            os.close(descriptor)
        problems = _problems(self._output)
        kind, _state, then = self._waiting.pop(0)
        for problem in problems:
            self._failed(kind, problem)
        if self._waiting:
            self._begin()
        then(problems)


def _run_all(run: Callable[[], None], pipe: int) -> NoReturn:
    """In a child of the monitor, which has nothing to do with what that one holds."""
    try:
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        descriptors.close_range(3)
        run()
    finally:
        os._exit(0)


def _tell(text: str) -> None:
    try:
        os.write(1, b"\n" + _PROBLEM + text.encode("utf-8", "replace") + b"\n")
    except BrokenPipeError:  # nobody listens any more, and there are others to run
        return


def _problems(output: bytes) -> list[str]:
    """Our own lines, each with what its hook said last."""
    found, last = [], ""
    for line in output.split(b"\n"):
        text = line.decode("utf-8", "replace").strip()
        if line.startswith(_PROBLEM):
            found.append(text.lstrip("\0") + (f": {last[:300]}" if last else ""))
            last = ""
        elif text:
            last = text
    return found
