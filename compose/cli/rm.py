"""``pycompose rm``."""

from __future__ import annotations

import sys

from compose.ui.streams import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from compose.cli.changing import Situation
    from compose.plan.plan import Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-f", "--force", action="store_true", help="do not ask")
    add("-s", "--stop", action="store_true", help="stop containers that run, then remove them")
    add("-v", "--volumes", action="store_true", help="also remove their anonymous volumes")


def run(arguments: argparse.Namespace) -> int:
    """Remove containers that have stopped."""
    from compose.cli.changing import change
    from compose.plan.plan import Plan
    from compose.plan.teardown import plan_remove

    def decide(situation: Situation) -> Plan:
        services = situation.services(arguments.services)
        plan = plan_remove(
            situation.observed,
            services,
            situation.dependencies,
            stop=arguments.stop,
            volumes=arguments.volumes,
        )
        if arguments.dry_run or _agreed(plan, force=arguments.force):
            return plan
        return Plan()

    return change(arguments, "rm", decide, services=arguments.services, removes=True)


def _agreed(plan: Plan, *, force: bool) -> bool:
    from compose.plan.actions import RemoveContainer

    actions = [operation.action for operation in plan.operations]
    names = [action.target for action in actions if isinstance(action, RemoveContainer)]
    if not names:
        say("No stopped containers\n")
        return False
    sys.stdout.write(f"Going to remove {', '.join(names)}\n")
    sys.stdout.flush()
    return force or confirmed("Are you sure?")


def confirmed(question: str) -> bool:
    """Whether whoever types says yes; the end of input means no."""
    sys.stdout.write(f"{question} [yN] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
