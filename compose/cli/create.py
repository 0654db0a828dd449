"""``pycompose create``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from compose.cli.up import add_creating

    parser.add_argument("services", nargs="*", metavar="SERVICE")
    add_creating(parser)


def run(arguments: argparse.Namespace) -> int:
    """Create containers, and start none."""
    from compose.cli.up import run_as_up

    return run_as_up(arguments, no_start=True)
