"""``pycompose up`` without ``-d``: logs until everything has ended, or Ctrl-C."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from compose.ui.streams import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType

    from compose.model import Project
    from compose.state.paths import Paths

_INTERRUPTED = 130


class _Interrupt(BaseException):
    """The user asks to stop; not an `Exception`, so that nothing takes it for a failure."""


def follow_until_stopped(
    arguments: argparse.Namespace, paths: Paths, project: Project, services: Sequence[str], since: int
) -> int:
    """Print what was written from `since` (nanoseconds) on, until everything has ended.

    The first Ctrl-C (or TERM) stops the containers, the second one kills them.
    """
    from compose.cli.logs import follow, log_printer
    from compose.state.index import Index

    rows = [
        row
        for row in Index(paths).containers(project.name)
        if row.service in services and project.services[row.service].get("attach", True)
    ]
    printer = log_printer(arguments, project.name, rows)
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        follow(paths, printer, project.name, rows, since=since)
        return 0
    except _Interrupt:
        say("Gracefully stopping... (press Ctrl+C again to force)\n")
        return _stop(arguments, paths, project, services)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise _Interrupt


def _stop(arguments: argparse.Namespace, paths: Paths, project: Project, services: Sequence[str]) -> int:
    try:
        _carry_out_stop(arguments, paths, project, services, arguments.timeout)
    except _Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        _carry_out_stop(arguments, paths, project, services, 0)
    return _INTERRUPTED


def _carry_out_stop(
    arguments: argparse.Namespace,
    paths: Paths,
    project: Project,
    services: Sequence[str],
    grace_period: float | None,
) -> None:
    from compose.cli import project as projects
    from compose.cli.running import carry_out
    from compose.engine.embedded.context import Context
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.plan.teardown import plan_stop
    from compose.state.lock import project_lock
    from compose.ui.progress import reporter

    with project_lock(paths, project.name, "stop", lambda holder: projects.warn(f"waiting for {holder}")):
        context = Context(paths, project.name, project=project, warn=projects.warn)
        try:
            engine = EmbeddedEngine(context)
            dependencies = {name: project.dependencies(name) for name in project.services}
            plan = plan_stop(engine.observe(), services, dependencies, grace_period)
            carry_out(plan, engine, reporter("stop", arguments.progress), keep_going=True)
        finally:
            context.close()
