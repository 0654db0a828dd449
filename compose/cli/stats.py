"""``pycompose stats``."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from compose.cli.scope import Container, Scope
    from compose.runtime.usage import Usage

_COLUMNS = {
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_HEADERS = {"Container": "CONTAINER"}
_INTERVAL = 1.0
"""Seconds between two looks at the counters."""
_FIRST = 0.5
"""Seconds that the first look covers."""
_HOME, _END_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-a", "--all", action="store_true", help="also containers that do not run")
    add("--format", default="table", metavar="FORMAT", help="table, json, or a Go template")
    add("--no-stream", action="store_true", help="print once and end")
    add("--no-trunc", action="store_true", help="do not cut ids short")


def run(arguments: argparse.Namespace) -> int:
    """Print what containers use, again and again until Ctrl-C."""
    from compose.cli.scope import Scope

    scope = Scope(arguments)
    scope.check(arguments.services)
    screen = sys.stdout.isatty() and not arguments.no_stream
    before = _measure(scope, arguments)
    pause = _FIRST
    if screen:
        sys.stdout.write(_HOME + _REST)
    while True:
        time.sleep(pause)
        now = _measure(scope, arguments)
        text = _text(arguments, before, now)
        if screen:
            text = _HOME + text.replace("\n", _END_OF_LINE + "\n") + _REST
        sys.stdout.write(text)
        sys.stdout.flush()
        if arguments.no_stream:
            return 0
        before, pause = now, _INTERVAL
        scope.refresh()


def _measure(scope: Scope, arguments: argparse.Namespace) -> dict[str, tuple[Container, Usage]]:
    from compose.runtime.usage import measure

    found = scope.containers(arguments.services)
    return {one.row.id: (one, measure(one.state)) for one in found if arguments.all or one.runs}


def _text(
    arguments: argparse.Namespace,
    before: dict[str, tuple[Container, Usage]],
    now: dict[str, tuple[Container, Usage]],
) -> str:
    from compose.ui.template import render

    rows = []
    for identity, (container, usage) in now.items():
        earlier = before.get(identity)
        rows.append(_row(container, usage, earlier[1] if earlier else None, arguments))
    return render(arguments.format, rows, _COLUMNS, _HEADERS)


def _row(
    container: Container, usage: Usage, before: Usage | None, arguments: argparse.Namespace
) -> dict[str, Any]:
    from compose.runtime.usage import memory_of_host
    from compose.ui.sizes import binary, decimal

    identity = container.row.id
    limit = usage.limit or (memory_of_host() if container.runs else 0)
    return {
        "BlockIO": f"{decimal(usage.read)} / {decimal(usage.written)}",
        "CPUPerc": f"{usage.cpu_percent(before):.2f}%",
        "Container": identity,
        "ID": identity if arguments.no_trunc else identity[:12],
        "MemPerc": f"{100 * usage.memory / limit if limit else 0.0:.2f}%",
        "MemUsage": f"{binary(usage.memory)} / {binary(limit)}",
        "Name": container.row.name,
        "NetIO": f"{decimal(usage.received)} / {decimal(usage.sent)}",
        "PIDs": str(usage.pids),
    }
