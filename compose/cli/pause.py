"""``pycompose pause``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from compose.cli.changing import Situation
    from compose.plan.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("services", nargs="*", metavar="SERVICE")


def run(arguments: argparse.Namespace) -> int:
    """Freeze every process of running containers."""
    from compose.cli.changing import change
    from compose.plan.life import plan_pause

    def decide(situation: Situation) -> Plan:
        return plan_pause(situation.observed, situation.services(arguments.services))

    return change(arguments, "pause", decide, services=arguments.services)
