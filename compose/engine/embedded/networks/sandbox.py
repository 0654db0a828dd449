"""The end of a project's sandbox, and of the processes that serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.engine.embedded.hooks.before import forget
from compose.engine.embedded.threads import in_thread
from compose.errors import NetworkError
from compose.linux.beneath import remove_path
from compose.runtime.client import Keeper

if TYPE_CHECKING:
    from compose.engine.embedded.context import Context


async def remove_sandbox(context: Context) -> None:
    """Take away the helper processes, the namespace and everything else that only a live project has."""
    if context.index.networks(context.name):  # another project has come to one of them meanwhile
        await leave_sandbox(context, recorded=False)
        return

    def work() -> None:
        Keeper(context.paths, context.name).shutdown()  # also sweeps up after one that was killed
        with context.network() as client:
            problems = client.remove_sandbox(context.name)
        if problems:
            raise NetworkError("; ".join(problems))
        remove_path(context.paths.project_run(context.name))

    await in_thread(work)
    forget(context.paths, context.name)
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM projects WHERE name = ?", (context.name,))


async def leave_sandbox(context: Context, *, recorded: bool) -> None:
    """End the helper processes; the namespace stays for the networks in it that other projects use.

    With the record of the project gone, those networks belong to their users: the last one's `down` takes
    them away. They stay for good while it is `recorded`.
    """
    await in_thread(Keeper(context.paths, context.name).shutdown)
    forget(context.paths, context.name)
    if recorded:
        return
    with context.index.change() as transaction:
        transaction.execute("DELETE FROM projects WHERE name = ?", (context.name,))
