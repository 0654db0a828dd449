"""``pycompose stop``."""

from __future__ import annotations

from compose.cli.grace import add_timeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from compose.cli.changing import Situation
    from compose.plan.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add_timeout(parser)


def run(arguments: argparse.Namespace) -> int:
    """Stop containers, dependents before what they depend on."""
    from compose.cli.changing import change
    from compose.plan.teardown import plan_stop

    def decide(situation: Situation) -> Plan:
        services = situation.services(arguments.services)
        return plan_stop(situation.observed, services, situation.dependencies, arguments.timeout)

    code = change(arguments, "stop", decide, services=arguments.services)
    return code if arguments.dry_run else _stop_outside(arguments) or code


def _stop_outside(arguments: argparse.Namespace) -> int:
    """Providers are stopped last: containers may need them until then."""
    from compose.cli import project as projects

    project = projects.load_if_there(arguments)
    if project is None or not any(service.get("provider") for service in project.services.values()):
        return 0
    from compose.engine import outside
    from compose.ui.errors import complain
    from compose.ui.progress import reporter

    progress = reporter("stop", arguments.progress)
    tell = lambda service, text: progress.detail(service, text, None)  # noqa: E731
    failures = outside.stop(project, arguments.services, tell)
    progress.close()
    for error in failures:
        complain(error)
    return 1 if failures else 0
