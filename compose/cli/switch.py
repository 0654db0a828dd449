"""Options that are on or off, as docker's users write them: ``--pause``, ``--pause=false``, ``-t=false``."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_switch(
    parser: argparse.ArgumentParser, name: str, *others: str, default: bool | None, help: str
) -> None:
    """Add the switch ``--name``, also written as `others`; what follows after a space is never its value."""
    dest = name.replace("-", "_")
    names = ("--" + name, *others)
    on = (*names, *(f"{one}=true" for one in names))
    parser.add_argument(*on, dest=dest, action="store_true", default=default, help=help)
    off = [f"{one}=false" for one in names]
    parser.add_argument(*off, dest=dest, action="store_false", default=default, help="the opposite")
