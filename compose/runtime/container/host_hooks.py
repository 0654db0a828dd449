"""Hooks of the host around a container's life (OCI runtime specification, config, Hooks).

    poststart    once its program runs; whoever starts it is answered after them
    poststop     once it has ended, after each run; before the next run begins

They see the host's namespaces, and the container's state as JSON on their standard input. One that fails is
told of and the others are run all the same: what it should have followed has happened. Those before the
program are the launcher's (hooks.py). A monitor runs them beside its other work
(supervision/monitor/hook_runner.py).
"""

from __future__ import annotations

import os

from compose.linux.files import readable
from compose.linux.process import pidfd_open, pidfd_send_signal
from compose.state import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Hook = dict[str, Any]

_SIGKILL = 9


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
        late = not readable(pidfd, timeout or None)
        if late:
            pidfd_send_signal(pidfd, _SIGKILL)
    finally:
        os.close(pidfd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if late:
        return f"no end within {timeout:g} s"
    return f"exit code {code}" if code else ""
