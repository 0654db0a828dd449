"""Programs of the host that finish a container before its own one runs (OCI specification, config, Hooks).

    prestart, createRuntime    in the host's namespaces, once mounts and devices are there
    createContainer            in the container's mount namespace, whose root is still the host's
    startContainer             in the container, right before its own program, with no more rights than that
                               has: what is run is one of the container's files

All of them run in the container's control group and pid namespace, with the container's state as JSON on
their standard input and their messages in its log. The first that fails ends the launch. Everything here
happens in the child of a launch (setup.py): nothing is imported, and reports are numbers. Those that come
later are in host_hooks.py.
"""

from __future__ import annotations

import json
import os

from compose.linux import files
from compose.linux.process import pidfd_open, pidfd_send_signal
from compose.linux.signals import set_mask
from compose.runtime.container.steps import HOOK, HOOK_FAILED, HOOK_LATE, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from compose.runtime.container.steps import Progress
    from compose.runtime.spec import ContainerSpec

    Hook = dict[str, Any]

_OUTSIDE = ("prestart", "createRuntime")
_INSIDE = "createContainer"
_LAST = "startContainer"
_SIGKILL = 9
_MOST = 65536  # what a pipe takes without a reader


def state(spec: ContainerSpec, status: str, pid: int) -> dict[str, Any]:
    """What a hook is told (OCI runtime specification, runtime, State)."""
    return {
        "ociVersion": spec["oci"].get("ociVersion") or "1.0.0",
        "id": spec["id"],
        "status": status,
        "pid": pid,
        "bundle": spec.get("bundle") or "",
        "annotations": spec["oci"].get("annotations") or {},
    }


class Hooks:
    """The hooks of one container. `prepare` and `run` are called by the child of its launch."""

    def __init__(self, spec: ContainerSpec, log: int) -> None:
        configured: dict[str, list[Hook]] = spec["oci"].get("hooks") or {}
        self._outside = [hook for kind in _OUTSIDE for hook in configured.get(kind) or ()]
        self._inside = list(configured.get(_INSIDE) or ())
        self._last = list(configured.get(_LAST) or ())
        self._state = state(spec, "creating", 0)
        self._log = log
        self._go = self._answer = self._outsider = -1

    def paths(self) -> list[str]:
        """The programs, in the order of the numbers in reports."""
        return [hook["path"] for hook in (*self._outside, *self._inside, *self._last)]

    def prepare(self) -> None:
        """Before any namespace is entered: learn our number, and leave a process behind for hooks outside."""
        self._state["pid"] = int(os.readlink("/proc/self"))
        if not self._outside:
            return
        waiting, self._go = os.pipe2(os.O_CLOEXEC)
        self._answer, answering = os.pipe2(os.O_CLOEXEC)
        self._outsider = os.fork()
        if self._outsider == 0:
            os.close(self._go)
            self._serve(waiting, answering)
        os.close(waiting)
        os.close(answering)

    def run(self, progress: Progress) -> None:
        """Run all of them; raises Failure for the first that fails."""
        progress.at(HOOK)
        if self._outside:
            os.write(self._go, b"g")
            answer = os.read(self._answer, 16)
            os.waitpid(self._outsider, 0)  # the program that we become does not expect a child
            if answer != b"ok":
                index, _, number = answer.decode().partition(" ")
                raise Failure(HOOK, int(number or HOOK_FAILED), int(index or 0))
        self._run_all(self._inside, len(self._outside))

    def run_last(self, progress: Progress, confine: Callable[[], None]) -> None:
        """Run those inside, each after `confine` has taken its rights; raises Failure for the first that
        fails."""
        progress.at(HOOK)
        self._state["status"] = "created"
        self._log = 2
        self._run_all(self._last, len(self._outside) + len(self._inside), confine)

    def _serve(self, waiting: int, answering: int) -> NoReturn:
        """In the process that stays outside: wait for the word, run its hooks and say how that went."""
        try:
            if os.read(waiting, 1):  # else the launch has failed
                self._run_all(self._outside, 0)
                os.write(answering, b"ok")
        except Failure as failure:
            os.write(answering, f"{failure.index} {failure.number}".encode())
        finally:
            os._exit(0)

    def _run_all(self, hooks: Sequence[Hook], first: int, confine: Callable[[], None] | None = None) -> None:
        for index, hook in enumerate(hooks, first):
            number = self._run(hook, confine)
            if number:
                raise Failure(HOOK, number, index)

    def _run(self, hook: Hook, confine: Callable[[], None] | None) -> int:
        """Run one; 0, or why it failed."""
        state = json.dumps(self._state).encode()[:_MOST]
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.write(writer, state)
        os.close(writer)
        pid = os.fork()
        if pid == 0:
            self._become(hook, reader, confine)
        os.close(reader)
        return _wait(pid, hook.get("timeout"))

    def _become(self, hook: Hook, stdin: int, confine: Callable[[], None] | None) -> NoReturn:
        try:
            high = [files.dup_above(number, 3) for number in (stdin, self._log, self._log)]
            for target, descriptor in enumerate(high):
                os.dup2(descriptor, target)
            files.close_range(3)
            os.umask(0o022)
            set_mask()
            pairs = (entry.partition("=") for entry in hook.get("env") or ())
            environment = {key: value for key, equals, value in pairs if key and equals}
            if confine is not None:
                confine()
            os.execve(hook["path"], hook.get("args") or [hook["path"]], environment)
        finally:
            os._exit(127)


def _wait(pid: int, timeout: float | None) -> int:
    """Wait for a hook, at most `timeout` seconds; 0, or why it failed."""
    pidfd = pidfd_open(pid)
    late = False
    try:
        if timeout:
            late = not files.readable(pidfd, timeout)
            if late:
                pidfd_send_signal(pidfd, _SIGKILL)
    finally:
        os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    if late:
        return HOOK_LATE
    return HOOK_FAILED if status else 0
