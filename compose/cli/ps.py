"""``pycompose ps``."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from compose.runtime.spec import ContainerSpec, ContainerState
    from compose.state.index import ContainerRow
    from compose.state.paths import Paths

_HEADER = ("NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS")
_RUNNING = ("running", "paused", "restarting")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-a", "--all", action="store_true", help="also containers that have stopped")
    add("-q", "--quiet", action="store_true", help="only ids")
    add("--services", dest="names", action="store_true", help="only the names of services")
    add("--format", choices=("table", "json"), default="table")
    add("--status", action="append", default=[], metavar="STATUS", help="only containers in this state")
    add("--no-trunc", action="store_true", help="do not cut the command short")


def run(arguments: argparse.Namespace) -> int:
    """List the project's containers."""
    from compose.cli import project as projects
    from compose.errors import StateError, UsageError
    from compose.runtime.client import read_state
    from compose.runtime.records import read_spec
    from compose.state.index import Index
    from compose.state.paths import Paths

    project = projects.load_if_there(arguments)
    paths = Paths.from_environment()
    index = Index(paths)
    rows = index.containers(projects.project_name(arguments, project))
    known = {row.service for row in rows} | (set(project.services) if project else set())
    for service in arguments.services:
        if service not in known:
            raise UsageError(f"no such service: {service}")
    found = []
    for row in rows:
        if arguments.services and row.service not in arguments.services:
            continue
        try:
            ports = _published(paths, row.id)
            found.append(_Line(row, read_spec(paths, row.id), read_state(paths, row.id), ports))
        except StateError as error:
            if not arguments.quiet:
                projects.warn(f"container {row.name}: {error.message}; run 'pycompose up -d' to make it anew")
    wanted = set(arguments.status)
    shown = [
        line
        for line in found
        if (line.status in wanted if wanted else arguments.all or line.status in _RUNNING)
    ]
    networks = {row.id: row.name for row in index.networks()} if arguments.format == "json" else {}
    sys.stdout.write(_text(arguments, shown, networks))
    return 0


def _published(paths: Paths, identity: str) -> list[dict[str, Any]]:
    """The ports that a container got when it was started."""
    from compose.runtime.spec import PORTS_FILE
    from compose.state.files import read_json

    try:
        return list(read_json(f"{paths.container(identity)}/{PORTS_FILE}"))
    except (OSError, ValueError):
        return []


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class _Line:
    """One container, as it is shown."""

    def __init__(
        self, row: ContainerRow, spec: ContainerSpec, state: ContainerState, published: list[dict[str, Any]]
    ) -> None:
        self.row = row
        self.spec = spec
        self.state = state
        self.status = str(state.get("status", "created"))
        self.published = published if self.status in _RUNNING else []

    def command(self) -> str:
        return " ".join(self.spec["oci"]["process"].get("args") or ())

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
        if self.status not in _RUNNING:
            return ""
        published = {f"{port['target']}/{port['protocol']}" for port in self.published}
        shown = [
            f"{_bracketed(port['host_ip'])}:{port['published']}->{port['target']}/{port['protocol']}"
            for port in self.published
        ]
        return ", ".join([*shown, *(port for port in self.spec.get("exposed", []) if port not in published)])

    def exit_code(self) -> int | None:
        """0 for one that has not ended, as docker has it; None for an end that nobody saw."""
        code = self.state.get("exit_code")
        return 0 if code is None and self.status not in ("exited", "dead") else code

    def json(self, networks: dict[str, str]) -> dict[str, Any]:
        """What docker shows; `networks` are the names by id."""
        return {
            "Command": self.command(),
            "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(self.row.created / 1e9)),
            "ExitCode": self.exit_code(),
            "Health": self.health(),
            "ID": self.row.id[:12],
            "Image": self.spec["image_name"],
            "Labels": ",".join(f"{key}={value}" for key, value in sorted(self.spec["labels"].items())),
            "Name": self.row.name,
            "Names": self.row.name,
            "Networks": ",".join(networks.get(one["network"], "") for one in self.spec["endpoints"]),
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
            "Service": self.row.service,
            "State": self.status,
            "Status": self.words(),
        }


def _text(arguments: argparse.Namespace, lines: list[_Line], networks: dict[str, str]) -> str:
    if arguments.quiet:
        return "".join(f"{line.row.id}\n" for line in lines)
    if arguments.names:
        return "".join(f"{name}\n" for name in dict.fromkeys(line.row.service for line in lines))
    if arguments.format == "json":
        import json

        return "".join(
            json.dumps(line.json(networks), ensure_ascii=False, separators=(",", ":")) + "\n"
            for line in lines
        )
    from compose.ui.table import ago, table
    from compose.ui.terminal import printable

    now = time.time_ns()
    rows = []
    for line in lines:
        command = printable(line.command())
        if not arguments.no_trunc and len(command) > 20:
            command = command[:19] + "…"
        created = ago((now - line.row.created) / 1e9)
        rows.append(
            (
                line.row.name,
                line.spec["image_name"],
                f'"{command}"',
                line.row.service,
                f"{created} ago",
                line.words(),
                line.ports(),
            )
        )
    return table(_HEADER, rows)
