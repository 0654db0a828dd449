"""``pycompose wait``."""

from __future__ import annotations

import contextlib
import sys

from compose.errors import ComposeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Sequence

    from compose.state.index import ContainerRow
    from compose.state.paths import Paths

_UNKNOWN = 255
"""The exit code when a container's own cannot be learnt."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="+", metavar="SERVICE")
    add("--down-project", action="store_true", help="take the project down when the first container stops")


def run(arguments: argparse.Namespace) -> int:
    """Wait until containers have stopped; the exit code of the one that stopped last."""
    from compose.cli import project as projects
    from compose.state.paths import Paths

    project = projects.load_if_there(arguments)
    paths = Paths.from_environment()
    name = projects.project_name(arguments, project)
    rows = _running(paths, name, arguments.services, project.services if project else ())
    if arguments.dry_run:
        sys.stdout.write("".join(f"wait for the end of {row.name}\n" for row in rows))
        return 0
    code = 0
    for row, ended in _ends(paths, name, rows):
        code = _UNKNOWN if ended is None else ended
        said = "an unknown status code" if ended is None else f"status code {ended}"
        sys.stdout.write(f'container "{row.id}" exited with {said}\n')
        sys.stdout.flush()
        if arguments.down_project:
            from compose.cli.down import take_down

            return take_down(arguments) or code
    return code


def _running(paths: Paths, project: str, services: Sequence[str], known: Iterable[str]) -> list[ContainerRow]:
    from compose.runtime.records import RUNNING, read_state
    from compose.runtime.supervision.revival import Revival
    from compose.state.index import Index

    with contextlib.closing(Index(paths)) as index:
        rows = index.containers(project)
    there = {*known, *(row.service for row in rows)}
    for service in services:
        if service not in there:
            raise UsageError(f"no such service: {service}")
    revive = Revival(paths, project).bring_back
    chosen = [row for row in rows if row.service in services]
    found = [row for row in chosen if read_state(paths, row.id, revive).get("status") in RUNNING]
    if not found:
        raise ComposeError(f"no container of {', '.join(services)} runs", hint="pycompose ps --all")
    return found


def _ends(
    paths: Paths, project: str, rows: Sequence[ContainerRow]
) -> Iterator[tuple[ContainerRow, int | None]]:
    """The containers in the order in which they stop, with their exit codes."""
    import queue
    import threading

    from compose.runtime.client import Keeper

    keeper = Keeper(paths, project)
    ended: queue.SimpleQueue[tuple[ContainerRow, int | None]] = queue.SimpleQueue()

    def wait(row: ContainerRow) -> None:
        try:
            ended.put((row, keeper.wait(row.id).get("exit_code")))
        except ComposeError:  # removed while it was waited for
            ended.put((row, None))

    for row in rows:
        threading.Thread(target=wait, args=(row,), daemon=True).start()
    for _row in rows:
        yield ended.get()
