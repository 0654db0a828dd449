"""Starting, stopping, killing and pausing one container, with its hooks and its ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ContainerError
from compose.runtime import protocol, records
from compose.runtime.client import Keeper
from compose.runtime.container import apparmor
from compose.runtime.supervision.monitor.stop import SIGKILL, signal_number
from compose.state import events

from . import blame, networks, ports, service_record, volumes
from .hooks.common import HookError
from .hooks.inside import run_inside
from .threads import in_thread

if TYPE_CHECKING:
    from compose.state.index import ContainerRow

    from .context import Context


async def start(context: Context, name: str) -> None:
    """Start a container; its published ports are open before its first instruction.

    Its `pre_start` hooks run before, its `post_start` hooks when it runs.
    """
    row = context.row(name)
    spec = records.find_spec(context.paths, row.id)
    await in_thread(volumes.mount, context, spec)
    if spec is not None and spec["oci"]["process"].get("apparmorProfile"):
        await in_thread(apparmor.make_ready, spec["oci"]["process"])
    service = service_record.read(context.paths, row.id)
    if service.get("pre_start"):
        async with context.turn.aside():
            await in_thread(context.preparation.before_start, row)
        context.row(name)  # somebody may have removed it meanwhile
    taken = context.listeners.pop(name, None)
    needs = [f"dns/{row.id}"] if (spec or {}).get("endpoints") else []

    def work() -> None:
        listeners = ports.take_late(context, row.id, name) if taken is None else taken
        try:
            keeper = context.keeper()
            if listeners:
                keeper.put_all({listener.name: [listener.fileno()] for listener in listeners})
                ports.record(context, row.id, listeners)
            keeper.start(row.id, lambda text: _warn(context, row, text), needs=needs)
        finally:
            ports.release(listeners)

    try:
        await in_thread(work)
    except ContainerError as error:
        if error.reason == protocol.LOST and spec is not None:
            await networks.connect_again(context, spec)
            await start(context, name)
            return
        if error.reason != protocol.RUNNING:  # a command that was killed may have got as far as this
            _tell_place(context, row, error)
            raise
    if service.get("post_start"):
        async with context.turn.aside():
            await in_thread(run_inside, context, row, "post_start")


def _tell_place(context: Context, row: ContainerRow, error: ContainerError) -> None:
    """Say which value of the file is to blame for that a container cannot be started, or which container."""
    error.message = error.message.removeprefix(f"container {row.id[:12]}: ")
    if _is_of_file(context, row) and blame.place(context.project, row.service, error):
        return
    if not error.message.startswith("container "):
        error.message = f"container {row.name}: {error.message}"


def _warn(context: Context, row: ContainerRow, text: str) -> None:
    warning = ContainerError(text)
    if _is_of_file(context, row):
        blame.place(context.project, row.service, warning)
    context.warn(warning.message)


def _is_of_file(context: Context, row: ContainerRow) -> bool:
    """Whether a container is what the file wants: what `run` changes stands on its command line."""
    services = context.target.services if context.target is not None else ()
    return not row.oneoff and any(
        one.name == row.service and one.config_hash == row.config_hash for one in services
    )


async def stop(
    context: Context,
    name: str,
    grace_period: float | None,
    *,
    resume: bool = False,
    regardless: bool = False,
) -> None:
    """Stop a container and free its ports; one that does not run is left alone.

    With `resume` it does not count as stopped by hand. Its `pre_stop` hooks run before; where one fails it is
    stopped only if that has to be, `regardless`, and the failure is raised in any case.
    """
    row = context.row(name)
    failure = await _before_stop(context, row)
    if failure is None or regardless:
        await in_thread(stop_now, context, row, grace_period, resume)
    if failure is not None:
        raise failure


async def _before_stop(context: Context, row: ContainerRow) -> HookError | None:
    """Run the `pre_stop` hooks of a container that runs; the failure, if there is one."""
    if not service_record.read(context.paths, row.id).get("pre_stop"):
        return None
    try:
        if (await in_thread(records.read_state, context.paths, row.id)).get("status") == "running":
            await in_thread(run_inside, context, row, "pre_stop")
    except HookError as error:
        return error
    return None


def stop_now(context: Context, row: ContainerRow, grace_period: float | None, resume: bool) -> None:
    """Stop a container without its hooks, and free its ports. Blocks."""
    Keeper(context.paths, context.name).stop(row.id, grace=grace_period, resume=resume)
    drop(context, row.id, "listen/")


async def restart(context: Context, name: str, grace_period: float | None) -> None:
    """Stop a container and start it again, with its hooks; one that does not run is only started."""
    row = context.row(name)
    failure = await _before_stop(context, row)
    if failure is not None:
        raise failure
    keeper = Keeper(context.paths, context.name)
    if await in_thread(keeper.restart, row.id, grace_period, context.warn):
        if service_record.read(context.paths, row.id).get("post_start"):
            await in_thread(run_inside, context, row, "post_start")
    else:
        await start(context, name)
    spec = records.find_spec(context.paths, row.id)
    if spec is not None:
        events.record(context.paths, spec, "restart")


async def kill(context: Context, name: str, signal: str) -> None:
    """Send a signal to process 1. SIGKILL cannot be refused: its effect is waited for, as Docker does."""
    row = context.row(name)
    keeper = Keeper(context.paths, context.name)

    def work() -> None:
        deadly = signal_number(signal) == SIGKILL
        if deadly and records.read_state(context.paths, row.id).get("status") == "restarting":
            keeper.stop(row.id, grace=0)  # nothing runs that a signal could be sent to
            return
        keeper.kill(row.id, signal)
        if deadly:
            keeper.wait(row.id)

    await in_thread(work)


async def pause(context: Context, name: str, *, paused: bool) -> None:
    """Freeze or thaw a container; raises `ContainerError` when that is what it is already."""
    row = context.row(name)
    keeper = Keeper(context.paths, context.name)

    def work() -> None:
        status = records.read_state(context.paths, row.id).get("status", "created")
        if status != ("running" if paused else "paused"):
            wrong = "paused already" if status == "paused" else status if paused else "not paused"
            raise ContainerError(f"container {name} is {wrong}")
        (keeper.pause if paused else keeper.unpause)(row.id)

    await in_thread(work)


def drop(context: Context, identity: str, *prefixes: str) -> None:
    """Let the keeper close what it holds for a container."""
    keeper = context.found_keeper()
    if keeper is None:
        return
    names = [name for name in keeper.names() if name.startswith(tuple(f"{p}{identity}" for p in prefixes))]
    if names:
        keeper.drop(*names)
