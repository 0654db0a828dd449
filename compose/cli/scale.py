"""``pycompose scale``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--no-deps", action="store_true", help="do not start what the services depend on")
    add("scale", nargs="+", metavar="SERVICE=N")


def run(arguments: argparse.Namespace) -> int:
    """Have so many containers of services."""
    from compose.cli.up import run_as_up, scales

    return run_as_up(arguments, services=list(scales(arguments.scale)), detach=True)
