"""``pycompose unpause``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from compose.cli.changing import Situation
    from compose.plan.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("services", nargs="*", metavar="SERVICE")


def run(arguments: argparse.Namespace) -> int:
    """Thaw every process of paused containers."""
    from compose.cli.changing import change
    from compose.plan.life import plan_unpause

    def decide(situation: Situation) -> Plan:
        return plan_unpause(situation.observed, situation.services(arguments.services))

    return change(arguments, "unpause", decide, services=arguments.services)
