"""``pycompose boot``: containers that come back when the machine was restarted."""

from __future__ import annotations

import contextlib
import sys

from compose.errors import ComposeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from compose.engine.embedded.context import Context
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.engine.embedded.recorded import Verdict
    from compose.plan.plan import Plan
    from compose.state.paths import Paths

    Decision = Callable[[Context, EmbeddedEngine], Plan]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("enable", "disable", "status", "start", "stop"),
        metavar="enable|disable|status|start|stop",
    )


def run(arguments: argparse.Namespace) -> int:
    """Install or remove the unit, say what it would do, or do what it does."""
    from compose.state.paths import Paths

    paths = Paths.from_environment()
    match arguments.action:
        case "enable":
            return _enable(paths)
        case "disable":
            return _disable()
        case "status":
            return _status(paths)
        case "start":
            return _each_project(arguments, paths, "up", _start)
    return _each_project(arguments, paths, "stop", _stop)


def _enable(paths: Paths) -> int:
    from compose.cli.boot_unit import Unit

    unit = Unit.of_user()
    unit.install(paths)
    sys.stdout.write(f"enabled: {unit.path}\n")
    if unit.lingering_hint:
        sys.stdout.write(f"so that it starts before you log in: {unit.lingering_hint}\n")
    return 0


def _disable() -> int:
    from compose.cli.boot_unit import Unit

    unit = Unit.of_user()
    sys.stdout.write(f"disabled: {unit.path}\n" if unit.remove() else "it was not enabled\n")
    return 0


def _status(paths: Paths) -> int:
    from compose.cli.boot_unit import Unit
    from compose.ui.table import table
    from compose.ui.terminal import printable

    unit = Unit.of_user()
    sys.stdout.write(f"enabled: {unit.path}\n" if unit.is_installed() else "not enabled\n")
    rows = [
        (one.row.name, "comes back" if one.comes_back else "stays as it is", printable(one.reason))
        for one in _verdicts(paths)
    ]
    if rows:
        sys.stdout.write(table(("NAME", "AT BOOT", "WHY"), rows))
    return 0


def _verdicts(paths: Paths) -> list[Verdict]:
    from compose.engine.embedded.recorded import verdict
    from compose.state.index import Index

    with contextlib.closing(Index(paths)) as index:
        return [verdict(paths, row) for row in index.containers()]


def _each_project(arguments: argparse.Namespace, paths: Paths, shown_as: str, decide: Decision) -> int:
    """Do the work of one project after the other; a failure of one keeps none of the others."""
    from compose.ui.errors import complain

    code = 0
    for project in sorted({one.row.project for one in _verdicts(paths)}):
        try:
            code = max(code, _change(arguments, paths, project, shown_as, decide))
        except (ComposeError, OSError) as error:
            complain(error if isinstance(error, ComposeError) else ComposeError(str(error)))
            code = 1
    return code


def _change(
    arguments: argparse.Namespace, paths: Paths, project: str, shown_as: str, decide: Decision
) -> int:
    """Carry out what is decided for one project; progress is shown as that of the command `shown_as`."""
    from compose.cli.project import waiting, warn
    from compose.cli.running import carry_out
    from compose.engine.embedded.context import Context
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.state.lock import change_lock
    from compose.ui.progress import reporter

    command, starts = f"boot {arguments.action}", arguments.action == "start"
    with change_lock(paths, project, command, waiting, starts=starts) as lock:
        context = Context(paths, project, warn=warn)
        context.hold(lock)
        try:
            engine = EmbeddedEngine(context)
            plan = decide(context, engine)
            if arguments.dry_run:
                sys.stdout.write(f"{plan}\n" if plan else "")
                return 0
            progress = reporter(shown_as, arguments.progress)
            return carry_out(plan, engine, progress, parallel=arguments.parallel, keep_going=True)
        finally:
            context.close()


def _start(context: Context, engine: EmbeddedEngine) -> Plan:
    """Bring back what ran when the machine went down; what runs is left alone."""
    from compose.engine.embedded.recorded import is_down, recorded_target, verdict
    from compose.plan.boot import plan_boot

    paths, rows = context.paths, context.index.containers(context.name)
    chosen = {row.name for row in rows if verdict(paths, row).comes_back and is_down(paths, row)}
    context.target = recorded_target(paths, context.index, context.name)
    return plan_boot(context.target, engine.observe(), chosen)


def _stop(context: Context, engine: EmbeddedEngine) -> Plan:
    """Stop what runs because the machine goes down; none of it counts as stopped by hand."""
    from compose.engine.embedded.recorded import recorded_target
    from compose.plan.teardown import plan_stop

    target = recorded_target(context.paths, context.index, context.name)
    dependencies = {service.name: list(service.dependencies) for service in target.services}
    return plan_stop(engine.observe(), (), dependencies, None, resume=True, regardless=True)
