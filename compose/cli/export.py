"""``pycompose export``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from compose.errors import UsageError
from compose.ui.streams import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--index", type=int, default=0, help="which container of the service (default: the first)")
    add("-o", "--output", metavar="FILE", help="write to a file rather than to standard output")
    add("service", metavar="SERVICE")


def run(arguments: argparse.Namespace) -> int:
    """Write the file system of a service's container as a tar archive."""
    from compose.cli.scope import Scope
    from compose.engine.embedded.whole import export
    from compose.images.store import ImageStore
    from compose.state import events

    if not arguments.output and sys.stdout.isatty():
        raise UsageError("an archive is nothing for a terminal", hint="pycompose export -o FILE SERVICE")
    scope = Scope(arguments)
    container = scope.running(arguments.service, arguments.index)
    store = ImageStore(scope.paths)
    if arguments.dry_run:
        sys.stdout.write(f"export {container.row.name} to {arguments.output or '-'}\n")
        return 0
    if arguments.output:
        _to_file(arguments.output, lambda output: export(store, container.spec, output))
    else:
        export(store, container.spec, sys.stdout.buffer.write)
        sys.stdout.flush()
    events.record(scope.paths, container.spec, "export")
    if arguments.progress != "quiet":
        say(f" {container.row.name} export {container.row.name} to {arguments.output or ''} Exported\n")
    return 0


def _to_file(path: str, write: Callable[[Callable[[bytes], object]], None]) -> None:
    """Write a file that is whole or not there."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        # A file system may hold what only its owner is to read.
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            write(file.write)
        os.rename(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
