"""``pycompose version``."""

from __future__ import annotations

import sys

from compose import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--format", choices=("pretty", "json"), default="pretty")
    parser.add_argument("--short", action="store_true", help="only the number")


def run(arguments: argparse.Namespace) -> int:
    if getattr(arguments, "short", False):
        text = __version__
    elif getattr(arguments, "format", "pretty") == "json":
        text = f'{{"version":"{__version__}"}}'
    else:
        text = f"pycompose version {__version__}"
    sys.stdout.write(text + "\n")
    return 0
