"""Hooks of the host around a container's life (OCI runtime specification, config, Hooks).

    poststart    once its program runs; whoever starts it is answered after them
    poststop     once it has ended, after each run; before the next run begins

They see the host's namespaces, and the container's state as JSON on their standard input. One that fails is
told of and the others are run all the same: what it should have followed has happened. Those before the
program are the launcher's (hooks.py).
"""

from __future__ import annotations

import os
import select

from compose.linux import files as descriptors
from compose.linux.namespaces import reset_pid_namespace
from compose.linux.process import pidfd_open, pidfd_send_signal
from compose.runtime.container.hooks import state as state_of
from compose.state import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from compose.runtime.supervision.monitor import Monitor

    Hook = dict[str, Any]
    Then = Callable[[list[str]], None]

PATIENCE = 60.0
"""Seconds that a monitor gives a hook that names no timeout: a stop waits for it."""
_SIGKILL = 9
_PROBLEM = b"\0"
"""What a line begins with that is ours, among those that hooks write."""
_MOST_KEPT = 8192
_STATUS = {"poststart": "running", "poststop": "stopped"}


def run(kind: str, hooks: Sequence[Hook], state: dict[str, Any], warn: Callable[[str], None]) -> None:
    """Run hooks with the container's state as JSON on their standard input."""
    for hook in hooks:
        problem = _run(hook, files.dumps(state))
        if problem:
            warn(f"hook {kind} {hook['path']}: {problem}")


def _run(hook: Hook, text: bytes) -> str:
    """Run one; why it failed, or nothing."""
    parcel = os.memfd_create("state", os.MFD_CLOEXEC)
    os.write(parcel, text)
    os.lseek(parcel, 0, os.SEEK_SET)
    pairs = (entry.partition("=") for entry in hook.get("env") or ())
    environment = {key: value for key, equals, value in pairs if key and equals}
    actions = [(os.POSIX_SPAWN_DUP2, parcel, 0)]
    try:
        pid = os.posix_spawn(
            hook["path"],
            hook.get("args") or [hook["path"]],
            environment,
            file_actions=actions,
            setsigmask=(),
        )
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(parcel)
    return _wait(pid, hook.get("timeout"))


def _wait(pid: int, timeout: float | None) -> str:
    pidfd = pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        late = not poll.poll(timeout * 1000 if timeout else None)
        if late:
            pidfd_send_signal(pidfd, _SIGKILL)
    finally:
        os.close(pidfd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if late:
        return f"no end within {timeout:g} s"
    return f"exit code {code}" if code else ""


class HostHooks:
    """The hooks of a monitor's container, one kind after the other, while the monitor does its work.

    A child of the monitor runs them. One whose monitor dies goes on; the successor runs what it cannot know
    to have been run, so that a hook may be run twice, never not at all.
    """

    __slots__ = ("_monitor", "_output", "_pid", "_pidfd", "_pipe", "_waiting")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._waiting: list[tuple[str, list[Hook], dict[str, Any], Then]] = []
        self._pid = 0
        self._pidfd = self._pipe = -1
        self._output = b""

    def run(self, kind: str, then: Then) -> None:
        """Run the hooks of one kind after those that are under way, then call `then` with what failed."""
        state = state_of(self._monitor.spec, _STATUS[kind], self._monitor.pid)
        self._waiting.append((kind, self._hooks(kind), state, then))
        if len(self._waiting) == 1:
            self._begin()

    def run_at_once(self, kind: str) -> None:
        """Run the hooks of one kind to their end, for a container of which nothing runs."""
        reset_pid_namespace()
        state = state_of(self._monitor.spec, _STATUS[kind], 0)
        run(kind, self._hooks(kind), state, lambda text: self._failed(kind, text))

    def _hooks(self, kind: str) -> list[Hook]:
        return [{"timeout": PATIENCE, **hook} for hook in self._monitor.spec["oci"]["hooks"][kind]]

    def _failed(self, kind: str, problem: str) -> None:
        self._monitor.event("hook_failed", hook=kind, error=problem)

    def _begin(self) -> None:
        kind, hooks, state, _then = self._waiting[0]
        self._output = b""
        self._pipe, write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe, False)
        reset_pid_namespace()
        self._pid = os.fork()
        if self._pid == 0:
            _run_all(kind, hooks, state, write)
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
        kind, _hooks, _state, then = self._waiting.pop(0)
        for problem in problems:
            self._failed(kind, problem)
        if self._waiting:
            self._begin()
        then(problems)


def _run_all(kind: str, hooks: Sequence[Hook], state: dict[str, Any], pipe: int) -> NoReturn:
    """In a child of the monitor, which has nothing to do with what that one holds."""
    try:
        os.dup2(pipe, 1)
        os.dup2(pipe, 2)
        descriptors.close_range(3)
        run(kind, hooks, state, _tell)
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
