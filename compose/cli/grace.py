"""``--timeout`` of the commands that stop containers."""

from __future__ import annotations

from compose.ui.times import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_timeout(parser: argparse.ArgumentParser) -> None:
    """Add ``-t``, which stands for the grace period of every container: seconds, or None for its own."""
    what = "how long containers have to stop; -1: as long as they take"
    parser.add_argument("-t", "--timeout", type=seconds, metavar="SECONDS", help=what)
