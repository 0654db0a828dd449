"""``pycompose start``."""

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
    add("--wait", action="store_true", help="wait until services run or are healthy")
    add("--wait-timeout", type=seconds, metavar="SECONDS", help="how long to wait for that")


def run(arguments: argparse.Namespace) -> int:
    """Start containers that are there, and those of the services that they depend on."""
    from compose.cli.changing import change
    from compose.cli.targets import narrowed
    from compose.plan.life import plan_start

    def decide(situation: Situation) -> Plan:
        target = narrowed(situation.target, arguments.services)
        return plan_start(target, situation.observed, wait=arguments.wait)

    timeout = arguments.wait_timeout if arguments.wait else None
    return change(
        arguments,
        "start",
        decide,
        services=arguments.services,
        keep_going=False,
        starts=True,
        timeout=timeout,
    )
