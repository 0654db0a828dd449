"""Networks that projects which are down have left to others: whoever uses them last takes them away."""

from __future__ import annotations

import contextlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.engine.embedded.context import Context
    from compose.plan.plan import Plan
    from compose.state.paths import Paths


def plans(leaving: Context) -> list[Plan]:
    """What will be taken away of projects that are down, once the containers of this one are gone."""
    from compose.engine.embedded.context import Context
    from compose.engine.embedded.observe import observe
    from compose.plan.teardown import plan_abandoned

    found = []
    for owner in leaving.index.abandoned(leaving.name):
        if owner != leaving.name:
            with contextlib.closing(Context(leaving.paths, owner)) as context:
                found.append(plan_abandoned(owner, observe(context), leaving=leaving.name))
    return found


def clear(paths: Paths, progress: str) -> int:
    """Remove the networks that projects which are down have left to others, and that nobody uses any more.

    With no other lock held, so that two commands cannot wait for each other. Where a command works on the
    owner right now, it is left alone: either it uses the network again, or it does this itself.
    """
    from compose.state.index import Index

    with contextlib.closing(Index(paths)) as index:
        owners = index.abandoned()
    return max((_clear(paths, progress, owner) for owner in owners), default=0)


def _clear(paths: Paths, progress: str, owner: str) -> int:
    from compose.cli.project import warn
    from compose.cli.running import carry_out
    from compose.engine.embedded.context import Context
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.network.setup.client import fork_setup
    from compose.plan.teardown import plan_abandoned
    from compose.state.lock import project_lock
    from compose.ui.progress import reporter

    def busy(holder: str) -> None:
        raise BlockingIOError(holder)

    network = fork_setup(paths)
    try:
        with project_lock(paths, owner, "down", busy) as lock:
            context = Context(paths, owner, network=network, warn=warn)
            try:
                engine = EmbeddedEngine(context)
                plan = plan_abandoned(owner, engine.observe())
                code = carry_out(plan, engine, reporter("down", progress), keep_going=True)
                if not context.index.containers(owner) and not context.index.networks(owner):
                    lock.forget_all()
                return code
            finally:
                context.close()
    except BlockingIOError:
        return 0
    finally:
        network.close()
