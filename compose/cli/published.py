"""Where the ports of a container can be reached now."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from compose.cli.scope import Container
    from compose.state.paths import Paths


def published(paths: Paths, container: Container, warn: Callable[[str], None]) -> list[dict[str, Any]]:
    """The ports that a container got when it was started, and still has.

    Of what it has lost `warn` is told: when all helpers are killed at once, another program may take a port
    before it can be opened again.
    """
    from compose.runtime.spec import PORTS_FILE
    from compose.state.files import read_json

    try:
        ports = list(read_json(f"{paths.container(container.row.id)}/{PORTS_FILE}"))
    except (OSError, ValueError):
        return []
    lost = [name.split("/") for name in container.state.get("lost") or () if name.startswith("listen/")]
    for _kind, _identity, protocol, host_ip, number, *_target in lost:
        who = _holder(paths, container.row.project, int(number), protocol)
        if who:
            place = (protocol, host_ip, int(number))
            ports = [port for port in ports if _place(port) != place]
            where = f"{bracketed(host_ip)}:{number}/{protocol}"
            warn(
                f"container {container.row.name}: port {where} is closed: the processes that held it were"
                f" killed, and {who}; it is opened again when it is free"
            )
    return ports


def bracketed(address: str) -> str:
    """An address as it stands before a colon and a port."""
    return f"[{address}]" if ":" in address else address


def _place(port: dict[str, Any]) -> tuple[str, str, int]:
    return str(port["protocol"]), str(port["host_ip"]), int(port["published"])


def _holder(paths: Paths, project: str, number: int, protocol: str) -> str:
    """Who has a port, in words; "" for a helper of the project's, which is about to give it back."""
    from compose.network.listeners import helper_of, holder

    found = holder(number, protocol)
    if found is None:
        return "it cannot be opened"
    if helper_of(found[0]) == (paths.run, project):
        return ""
    return f"{found[1]} (process {found[0]}) has it now"
