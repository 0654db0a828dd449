"""``pycompose stop``."""

from __future__ import annotations

from compose.ui.times import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from compose.cli.changing import Situation
    from compose.plan.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-t", "--timeout", type=seconds, metavar="SECONDS", help="how long containers have to stop")


def run(arguments: argparse.Namespace) -> int:
    """Stop containers, dependents before what they depend on."""
    from compose.cli.changing import change
    from compose.plan.teardown import plan_stop

    def decide(situation: Situation) -> Plan:
        services = situation.services(arguments.services)
        return plan_stop(situation.observed, services, situation.dependencies, arguments.timeout)

    return change(arguments, "stop", decide, services=arguments.services)
