"""Options that are on or off, as docker's users write them: ``--pause``, ``--pause=false``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_switch(parser: argparse.ArgumentParser, name: str, *short: str, default: bool, help: str) -> None:
    """Add the switch ``--name``; what follows it after a space is never its value."""
    dest = name.replace("-", "_")
    on = ("--" + name, f"--{name}=true", *short)
    parser.add_argument(*on, dest=dest, action="store_true", default=default, help=help)
    parser.add_argument(f"--{name}=false", dest=dest, action="store_false", help="the opposite")
