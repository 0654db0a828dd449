"""``pycompose ls``."""

from __future__ import annotations

import contextlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    import re


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-a", "--all", action="store_true", help="also projects of which nothing runs")
    add("-q", "--quiet", action="store_true", help="only names")
    add(
        "--filter",
        action="append",
        default=[],
        metavar="FILTER",
        help="only projects that name=PATTERN fits; a regular expression, found anywhere in the name",
    )
    add("--format", choices=("table", "json"), default="table")


def run(arguments: argparse.Namespace) -> int:
    """List the projects of this user on this machine."""
    from compose.errors import StateError
    from compose.runtime.records import RUNNING, read_state
    from compose.state.index import Index
    from compose.state.paths import Paths
    from compose.ui.table import table

    patterns = _patterns(arguments.filter)
    paths = Paths.from_environment()
    with contextlib.closing(Index(paths)) as index:
        containers, projects = index.containers(), index.projects()
    states: dict[str, dict[str, int]] = {}
    for row in containers:
        try:
            status = str(read_state(paths, row.id).get("status", "created"))
        except StateError:
            status = "dead"
        counts = states.setdefault(row.project, {})
        counts[status] = counts.get(status, 0) + 1
    files = {project.name: ",".join(project.files) for project in projects}
    rows = []
    for name in sorted(states):
        if not arguments.all and states[name].keys().isdisjoint(RUNNING):
            continue
        if patterns and not any(pattern.search(name) for pattern in patterns):
            continue
        shown = sorted(state for state in states[name] if arguments.all or state in RUNNING)
        status = ", ".join(f"{state}({states[name][state]})" for state in shown)
        rows.append((name, status, files.get(name, "")))
    if arguments.quiet:
        text = "".join(f"{name}\n" for name, _, _ in rows)
    elif arguments.format == "json":
        import json

        text = (
            json.dumps([dict(zip(("Name", "Status", "ConfigFiles"), row, strict=True)) for row in rows])
            + "\n"
        )
    else:
        text = table(("NAME", "STATUS", "CONFIG FILES"), rows, minimum=20)
    sys.stdout.write(text)
    return 0


def _patterns(filters: list[str]) -> list[re.Pattern[str]]:
    """What ``--filter name=PATTERN`` asks for."""
    import re

    from compose.errors import UsageError

    found = []
    for text in filters:
        key, _, pattern = text.partition("=")
        if key != "name" or not pattern:
            raise UsageError(f"--filter {text}: unknown filter", hint="write name=PATTERN")
        try:
            found.append(re.compile(pattern))
        except re.error as error:
            raise UsageError(f"--filter {text}: {error}") from None
    return found
