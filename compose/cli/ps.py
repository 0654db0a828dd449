"""``pycompose ps``."""

from __future__ import annotations

import sys
import time

from compose.cli.published import bracketed, published
from compose.cli.switch import add_switch
from compose.runtime.records import RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from compose.cli.scope import Scope
    from compose.runtime.spec import ContainerSpec, ContainerState
    from compose.state.index import ContainerRow

_COLUMNS = {
    "Name": "NAME",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "Service": "SERVICE",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Ports": "PORTS",
}
_LONGEST = 20
"""Characters of a command in a table."""
_LONGEST_MOUNT = 15
"""Characters of a mount's name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-a", "--all", action="store_true", help="also containers that have stopped")
    add("-q", "--quiet", action="store_true", help="only ids")
    add("--services", dest="names", action="store_true", help="only the names of services")
    add("--filter", action="append", default=[], metavar="FILTER", help="status=STATUS, as --status")
    add("--format", default="table", metavar="FORMAT", help="table, json, or a Go template")
    add("--status", action="append", default=[], metavar="STATUS", help="only containers in this state")
    add("--no-trunc", action="store_true", help="do not cut the command short")
    text = "also containers of services that are not in the file (default)"
    add_switch(parser, "orphans", default=True, help=text)


def run(arguments: argparse.Namespace) -> int:
    """List the project's containers."""
    from compose.cli import project as projects
    from compose.cli.scope import Scope
    from compose.errors import StateError

    wanted = {*arguments.status, *_filtered(arguments.filter)}
    scope = Scope(arguments)
    scope.check(arguments.services)
    found = []
    for row in scope.rows:
        if arguments.services and row.service not in arguments.services:
            continue
        if row.oneoff and not (arguments.all or wanted):  # what `run` made, as under docker compose
            scope.watch([row])
            continue
        if not arguments.orphans and scope.is_orphan(row):
            continue
        try:
            container = scope.look(row)
            ports = published(scope.paths, container, projects.warn) if container.runs else []
            found.append(_Line(row, container.spec, container.state, ports))
            if reason := container.state.get("unwritten"):
                projects.warn(f"container {row.name}: its state cannot be written: {reason}")
        except StateError as error:
            if not arguments.quiet:
                projects.warn(f"container {row.name}: {error.message}; run 'pycompose up -d' to make it anew")
    shown = [
        line
        for line in found
        if (line.status in wanted if wanted else arguments.all or line.status in RUNNING)
    ]
    sys.stdout.write(_text(arguments, shown, scope))
    return 0


def _filtered(filters: list[str]) -> list[str]:
    """The states that ``--filter status=STATE`` asks for."""
    from compose.errors import UsageError

    found = []
    for text in filters:
        key, _, value = text.partition("=")
        if key != "status" or not value:
            raise UsageError(f"--filter {text}: unknown filter", hint="write status=running")
        found.append(value)
    return found


class _Line:
    """One container, as it is shown."""

    def __init__(
        self, row: ContainerRow, spec: ContainerSpec, state: ContainerState, published: list[dict[str, Any]]
    ) -> None:
        self.row = row
        self.spec = spec
        self.state = state
        self.status = str(state.get("status", "created"))
        by_port = sorted(published, key=lambda port: (port["host_ip"], port["target"], port["published"]))
        self.published = by_port if self.status in RUNNING else []

    def command(self) -> str:
        """The command line; words with spaces stand in quotes, as docker writes them."""
        words = self.spec["oci"]["process"].get("args") or ()
        return " ".join(f"'{word}'" if " " in word else word for word in words)

    def health(self) -> str:
        from compose.runtime.spec import health_of

        return health_of(self.state)

    def words(self) -> str:
        """``Up 3 minutes (healthy)``, ``Exited (1) 2 hours ago``, as docker says it."""
        from compose.ui.table import ago

        now = time.time_ns()
        up = ago((now - self.state.get("started_at", now)) / 1e9)
        if self.status in ("running", "paused"):
            health = self.health()
            shown = f" (health: {health})" if health == "starting" else f" ({health})" if health else ""
            reason = self.state.get("restart_reason")
            shown += f", restarted: {reason}" if reason else ""
            shown += ", a process was out of memory" if self.state.get("oom_killed") else ""
            return f"Up {up}{shown}{' (Paused)' if self.status == 'paused' else ''}"
        code = self.state.get("exit_code")
        number = "unknown" if code is None else str(code)
        finished = self.state.get("finished_at")  # nobody saw the end of what a restart of the machine ended
        since = f" {ago((now - finished) / 1e9)} ago" if finished else ""
        if self.status == "restarting":
            why = ", unhealthy" if self.state.get("restarting_unhealthy") else ""
            return f"Restarting ({number}{why}){since}"
        if self.status in ("exited", "dead"):
            killed = ", out of memory" if self.state.get("oom_killed") else ""
            return f"Exited ({number}{killed}){since}"
        return "Created"

    def ports(self) -> str:
        """Published ports, and what is only exposed, as docker writes them."""
        if self.status not in RUNNING:
            return ""
        published = {f"{port['target']}/{port['protocol']}" for port in self.published}
        shown = [
            f"{bracketed(port['host_ip'])}:{port['published']}->{port['target']}/{port['protocol']}"
            for port in self.published
        ]
        return ", ".join([*shown, *(port for port in self.spec.get("exposed", []) if port not in published)])

    def exit_code(self) -> int | None:
        """0 for one that has not ended, as docker has it; None for an end that nobody saw."""
        code = self.state.get("exit_code")
        return 0 if code is None and self.status not in ("exited", "dead") else code

    def fields(self, networks: dict[str, str], *, whole: bool = False) -> dict[str, Any]:
        """What docker shows; `networks` are the names by id, `whole` keeps a long command whole."""
        from compose.ui.table import ago
        from compose.ui.template import label_of
        from compose.ui.terminal import printable

        command = printable(self.command())
        command = command if whole else _cut(command, _LONGEST)
        age = ago((time.time_ns() - self.row.created) / 1e9)
        return {
            "Command": f'"{command}"',
            "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(self.row.created / 1e9)),
            "ExitCode": self.exit_code(),
            "Health": self.health(),
            "ID": self.row.id if whole else self.row.id[:12],
            "Image": self.spec["image_name"],
            "Label": label_of(self.spec["labels"]),
            "Labels": ",".join(f"{key}={value}" for key, value in sorted(self.spec["labels"].items())),
            "LocalVolumes": str(len(self.spec.get("volumes") or ())),
            "Mounts": ",".join(
                volume["name"] if whole else _cut(volume["name"], _LONGEST_MOUNT)
                for volume in self.spec.get("volumes") or ()
            ),
            "Name": self.row.name,
            "Names": self.row.name,
            "Networks": ",".join(networks.get(one["network"], "") for one in self.spec["endpoints"]),
            "Ports": self.ports(),
            "Project": self.row.project,
            "Publishers": [
                {
                    "URL": port["host_ip"],
                    "TargetPort": port["target"],
                    "PublishedPort": port["published"],
                    "Protocol": port["protocol"],
                }
                for port in self.published
            ],
            "RunningFor": f"{age} ago",
            "Service": self.row.service,
            "Size": "0B",
            "State": self.status,
            "Status": self.words(),
        }


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _text(arguments: argparse.Namespace, lines: list[_Line], scope: Scope) -> str:
    if arguments.quiet:
        return "".join(f"{line.row.id}\n" for line in lines)
    if arguments.names:
        return "".join(f"{name}\n" for name in dict.fromkeys(line.row.service for line in lines))
    if arguments.format == "table":
        from compose.ui.table import table

        found = [line.fields({}, whole=arguments.no_trunc) for line in lines]
        return table(list(_COLUMNS.values()), [[str(row[field]) for field in _COLUMNS] for row in found])
    from compose.ui.template import render

    with scope.index() as index:
        networks = {row.id: row.name for row in index.networks()}
    rows = [line.fields(networks, whole=arguments.no_trunc) for line in lines]
    return render(arguments.format, rows, _COLUMNS)
