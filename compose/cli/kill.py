"""``pycompose kill``."""

from __future__ import annotations

from compose.ui.streams import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from compose.cli.changing import Situation
    from compose.plan.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-s", "--signal", default="SIGKILL", metavar="SIGNAL", help="which signal (default SIGKILL)")
    add("--remove-orphans", action="store_true", help="also containers of services that are not in the file")


def run(arguments: argparse.Namespace) -> int:
    """Send a signal to containers, those of ``run`` too."""
    from compose.cli.changing import change
    from compose.plan.life import plan_kill
    from compose.runtime.supervision.monitor.stop import signal_number

    signal_number(arguments.signal)

    def decide(situation: Situation) -> Plan:
        services = arguments.services
        if not arguments.remove_orphans:
            services = situation.services(services)
        plan = plan_kill(situation.observed, services, arguments.signal)
        if not plan and not arguments.dry_run:
            say("no container to kill\n")
        return plan

    return change(arguments, "kill", decide, services=arguments.services)
