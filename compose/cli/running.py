"""Carrying out a plan from the command line: signals, errors, exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from compose.errors import ComposeError
from compose.plan.execute import execute
from compose.ui.errors import complain

if TYPE_CHECKING:
    from compose.engine.protocol import Engine
    from compose.plan.plan import Plan
    from compose.ui.progress import Plain, Terminal, Unmentioned


def carry_out(
    plan: Plan,
    engine: Engine,
    progress: Plain | Terminal | Unmentioned,
    *,
    parallel: int | None = None,
    keep_going: bool = False,
    timeout: float | None = None,
) -> int:
    """Carry out `plan` and report its failures; 0, or 1 when there were any.

    `timeout` in seconds bounds the whole plan.
    """
    if not plan:
        return 0

    async def run() -> list[ComposeError]:
        try:
            with anyio.fail_after(timeout):
                return await execute(
                    plan, engine, listener=progress, parallel=parallel, keep_going=keep_going
                )
        except TimeoutError:
            return [ComposeError(f"not ready after {timeout:g} s", hint="raise --wait-timeout")]

    errors = anyio.run(run)
    engine.settle(plan)
    progress.close()
    for error in errors:
        complain(error)
    return 1 if errors else 0
