"""What every command does that changes containers which are there: lock, observe, decide, carry out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from compose.cli import project as projects
from compose.cli import targets
from compose.cli.running import carry_out
from compose.engine.embedded.context import Context
from compose.engine.embedded.engine import EmbeddedEngine
from compose.errors import UsageError
from compose.network.setup.client import fork_setup
from compose.state.lock import change_lock
from compose.state.paths import Paths
from compose.ui.progress import reporter

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Iterable, Mapping

    from compose.model import Project
    from compose.plan.observed import Observed
    from compose.plan.plan import Plan
    from compose.plan.target import Target


class Situation(NamedTuple):
    """What a command decides on."""

    observed: Observed
    project: Project | None
    target: Target
    """Without a project, what its containers say."""

    @property
    def dependencies(self) -> Mapping[str, Collection[str]]:
        """Service -> the services that it depends on."""
        return {service.name: service.dependencies for service in self.target.services}

    def services(self, named: Collection[str]) -> Collection[str]:
        """The named services; all of the file when none is named; nothing, for all, when there is no file."""
        return named or ([*self.project.services, *self.project.disabled] if self.project else ())


def change(
    arguments: argparse.Namespace,
    command: str,
    decide: Callable[[Situation], Plan],
    *,
    services: Iterable[str] = (),
    keep_going: bool = True,
    timeout: float | None = None,
    removes: bool = False,
    starts: bool = False,
) -> int:
    """Carry out, or print, what `decide` wants; the exit code.

    `services` are names that have to be known. `timeout` in seconds bounds the whole plan. With `removes` the
    process that speaks netlink gets ready while we decide. What `starts` containers waits for others who do.
    """
    paths = Paths.from_environment()
    network = fork_setup(paths) if removes else None
    project = projects.load_if_there(arguments)
    name = projects.project_name(arguments, project)
    progress = reporter(command, arguments.progress)
    with change_lock(paths, name, command, projects.waiting, starts=starts) as lock:
        context = Context(paths, name, project=project, network=network, warn=projects.warn)
        context.hold(lock)
        try:
            target = targets.target(project) if project is not None else _recorded(context)
            _check(services, target, project)
            context.target = target
            engine = EmbeddedEngine(context)
            observed = engine.observe()
            plan = decide(Situation(observed, project, target))
            if arguments.dry_run:
                sys.stdout.write(f"{plan or 'nothing to do'}\n")
                return 0
            engine.prepare(plan)
            return carry_out(
                plan,
                engine,
                progress,
                parallel=arguments.parallel,
                keep_going=keep_going,
                timeout=timeout,
            )
        finally:
            progress.close()
            if context.is_gone():
                lock.forget_all()
            context.close()


def _recorded(context: Context) -> Target:
    """A target without a file, in the order of its services' dependencies."""
    from compose.engine.embedded.recorded import recorded_target
    from compose.model.order import quick_order

    target = recorded_target(context.paths, context.index, context.name)
    by_name = {service.name: service for service in target.services}
    order = quick_order({name: service.config for name, service in by_name.items()})
    return target._replace(services=tuple(by_name[name] for name in order or by_name))


def _check(services: Iterable[str], target: Target, project: Project | None) -> None:
    known = {service.name for service in target.services}
    if project is not None:
        known |= {*project.services, *project.disabled}
    for service in services:
        if service not in known:
            raise UsageError(f"no such service: {service}", hint="see 'pycompose config --services'")
