"""``pycompose restart``."""

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
    add("--no-deps", action="store_true", help="do not restart services that depend on these")
    add_timeout(parser)


def run(arguments: argparse.Namespace) -> int:
    """Restart containers, also those that have stopped."""
    from compose.cli.changing import change
    from compose.plan.life import plan_restart

    def decide(situation: Situation) -> Plan:
        return plan_restart(
            situation.target,
            situation.observed,
            arguments.services,
            alone=arguments.no_deps,
            timeout=arguments.timeout,
        )

    return change(arguments, "restart", decide, services=arguments.services, keep_going=False, starts=True)
