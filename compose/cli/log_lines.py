"""How lines of a project's containers are printed: what stands before them, and in which colours."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from compose.state.index import ContainerRow
    from compose.ui.logs import LogPrinter


def label(project: str, row: ContainerRow) -> str:
    """What stands before a container's lines: its name without the project's."""
    return row.name.removeprefix(f"{project}-")


def log_printer(arguments: argparse.Namespace, project: str, rows: Sequence[ContainerRow]) -> LogPrinter:
    """The printer that the options ask for."""
    from compose.ui.logs import LogPrinter
    from compose.ui.terminal import colours

    return LogPrinter(
        sys.stdout.fileno(),
        [label(project, row) for row in rows],
        colours=not arguments.no_color and colours(sys.stdout),
        prefix=not arguments.no_log_prefix,
        timestamps=arguments.timestamps,
    )
