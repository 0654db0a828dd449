"""``pycompose port``."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--index", type=int, default=0, help="which container of the service (default: the first)")
    add("--protocol", choices=("tcp", "udp"), default="tcp", help="tcp or udp (default tcp)")
    add("service", metavar="SERVICE")
    add("port", metavar="PRIVATE_PORT", type=int)


def run(arguments: argparse.Namespace) -> int:
    """Print where on the host a port of a container can be reached."""
    from compose.cli import project as projects
    from compose.cli.published import bracketed, published
    from compose.cli.scope import Scope
    from compose.errors import ContainerError

    scope = Scope(arguments)
    container = scope.running(arguments.service, arguments.index)
    ports = published(scope.paths, container, projects.warn)
    for port in ports:
        if (port["target"], port["protocol"]) == (arguments.port, arguments.protocol):
            sys.stdout.write(f"{bracketed(port['host_ip'])}:{port['published']}\n")
            return 0
    known = ", ".join(dict.fromkeys(f"{port['target']}/{port['protocol']}" for port in ports))
    raise ContainerError(
        f"no port {arguments.port}/{arguments.protocol} for container {container.row.name}",
        hint=f"it publishes {known or 'none'}",
    )
