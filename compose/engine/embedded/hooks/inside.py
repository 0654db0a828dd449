"""Hooks in the running container: ``post_start`` and ``pre_stop``."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from compose.engine.embedded import service_record
from compose.engine.embedded.waiting import ended
from compose.errors import ContainerError, StateError
from compose.runtime import records
from compose.runtime.client import Keeper

from .common import HookError, Output, adapt, failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.engine.embedded.context import Context
    from compose.runtime.spec import ContainerSpec, Process
    from compose.state.index import ContainerRow

_KILLED = 137
_LAST_MOMENT = 2.0
"""Seconds within which process 1 ends that has taken its hook along."""


def run_inside(context: Context, row: ContainerRow, kind: str) -> None:
    """Run the hooks of one kind, `post_start` or `pre_stop`, one after the other.

    Blocks. Raises `HookError` at the first one that fails; what it has started in the container goes on.
    """
    hooks: Sequence[Mapping[str, Any]] = service_record.read(context.paths, row.id).get(kind) or ()
    if not hooks:
        return
    spec = records.read_spec(context.paths, row.id)
    for number, hook in enumerate(hooks):
        what = f"{row.name} {kind}[{number}]"
        output = Output(context.detail, what)
        try:
            code = _execute(context, row, _inner_process(spec, hook, what), output)
        except HookError:
            raise
        except (ContainerError, OSError) as error:
            _check_for_end(context, row, what)
            hint = error.hint if isinstance(error, ContainerError) else None
            raise HookError(f"{what}: {error}", hint=hint) from None
        if code == _KILLED:
            _check_for_end(context, row, what)
        if code != 0:
            raise HookError(failure(what, code, output.last))


def _check_for_end(context: Context, row: ContainerRow, what: str) -> None:
    """Raise `HookError` when the container has ended, and with it the hook, or the chance to run it."""
    try:
        state = records.recorded_state(context.paths, row.id)
        records.wait_for_end(state.get("pid", 0), state.get("start_time", 0), seconds=_LAST_MOMENT)
        state = records.read_state(context.paths, row.id)
    except StateError:
        return
    if state.get("status") not in ("running", "paused"):
        text = f"{what}: {row.name} {ended(state)} before the hook did"
        raise HookError(text, hint=f"pycompose logs {row.service}")


def _inner_process(spec: ContainerSpec, hook: Mapping[str, Any], what: str) -> Process:
    """The container's own process with the hook's command; what the hook does not say is inherited."""
    process: Process = {**spec["oci"]["process"], "args": _command(hook, what), "terminal": False}
    adapt(process, hook)
    return process


def _command(hook: Mapping[str, Any], what: str) -> list[str]:
    command = [str(word) for word in hook.get("command") or ()]
    if not command:
        raise HookError(f"{what} has no command", hint='write command: ["program", "argument"]')
    return command


def _execute(context: Context, row: ContainerRow, process: Process, output: Output) -> int | None:
    """Run one process in the container to its end. Others may hold its output: only the process counts."""
    read, write = os.pipe2(os.O_CLOEXEC)
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            session = Keeper(context.paths, context.name).exec(row.id, process, [null, write, write])
        finally:
            os.close(write)
            os.close(null)
        try:
            _relay(read, session.fileno(), output)
            return session.wait()
        finally:
            session.close()
    finally:
        os.close(read)
        output.end()


def _relay(read: int, ended: int, output: Output) -> None:
    """Pass on what can be read until `ended` is readable, and what is there then."""
    os.set_blocking(read, False)
    poll = select.poll()
    for descriptor in (read, ended):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _events in poll.poll()}
        if read in ready and not _take(read, output):
            poll.unregister(read)
        if ended in ready:
            while _take(read, output):
                pass
            return


def _take(read: int, output: Output) -> bool:
    try:
        data = os.read(read, 65536)
    except BlockingIOError:
        return False
    output.take(data)
    return bool(data)
