"""When a container without a health check is ready that others wait for: its server is asked.

Which protocol it speaks is told by the image's name, else by a port that the image or the service exposes. A
health check of the user's, `disable: true` too, is never overridden.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from compose.errors import ContainerError

from .handshake import Question, ask
from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.runtime.spec import ContainerSpec
    from compose.state.index import ContainerRow

    from .context import Context

BY_IMAGE = {
    "mysql": ("mysql", "mariadb", "percona"),
    "postgres": ("postgres", "postgresql", "postgis", "timescaledb", "pgvector"),
    "redis": ("redis", "valkey", "keydb"),
    "memcached": ("memcached",),
    "rabbitmq": ("rabbitmq",),
    "http": ("nginx", "httpd", "caddy", "traefik"),
}
BY_PORT = {3306: "mysql", 5432: "postgres", 6379: "redis", 11211: "memcached", 5672: "rabbitmq"}
_HTTP_PORTS = (80, 8080, 8000, 3000)
_PATIENCE = 300.0
"""Seconds after which a server that runs but is not ready counts as one that never will be."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


def choose(service: Mapping[str, Any], spec: ContainerSpec) -> Question | None:
    """Whom to ask what; None where nobody knows, or the service says that there is no check."""
    if (service.get("healthcheck") or {}).get("disable") or service.get("healthcheck", {}).get("test"):
        return None
    exposed = _tcp_ports(spec)
    protocol = _by_name(str(spec.get("image_name") or ""))
    port = next((number for number, name in BY_PORT.items() if name == protocol), 0)
    if not protocol:
        port = next((number for number in exposed if number in BY_PORT), 0)
        protocol = BY_PORT.get(port, "")
    if protocol in ("", "http"):
        port = next((number for number in _HTTP_PORTS if number in exposed), 80 if protocol else 0)
        protocol = "http" if port else ""
    if not protocol:
        return None
    return Question(protocol, _address(spec), port, spec.get("network_namespace") or "")


def _by_name(image: str) -> str:
    """The protocol of ``registry/someone/mysql-server:8``: the whole last part, or a word of it."""
    last = image.partition("@")[0].rpartition("/")[2].partition(":")[0].lower()
    words = {last, *last.replace("_", "-").split("-")}
    return next((name for name, known in BY_IMAGE.items() if words.intersection(known)), "")


def _tcp_ports(spec: ContainerSpec) -> list[int]:
    """The ports that the image and the service expose, and those that are published."""
    exposed = [text.partition("/") for text in spec.get("exposed") or ()]
    found = [int(port) for port, _, kind in exposed if kind in ("", "tcp") and port.isdecimal()]
    for entry in spec.get("ports") or ():
        if str(entry.get("protocol") or "tcp") == "tcp" and str(entry.get("target")).isdecimal():
            found.append(int(entry["target"]))
    return found


def _address(spec: ContainerSpec) -> str:
    for endpoint in spec.get("endpoints") or ():
        for key in ("ipv4", "ipv6"):
            if endpoint.get(key):
                return str(endpoint[key]).partition("/")[0]
    return "127.0.0.1"


async def ready(context: Context, row: ContainerRow, question: Question) -> None:
    """Return when the server is ready; raise `ContainerError` when its container has ended before."""
    import anyio

    from .waiting import ended, present

    context.detail(row.name, f"has no health check: asked as {question}", None)
    deadline, pause = time.monotonic() + _PATIENCE, _FIRST_PAUSE
    hint = f"pycompose logs {row.service}"
    while True:
        state = present(context.paths, row.id, row.name)
        if state.get("status") in ("exited", "dead"):
            raise ContainerError(f"container {row.name} {ended(state)} before it was ready", hint=hint)
        reason = await in_thread(ask, question, abandon=True)
        if not reason:
            return
        if time.monotonic() >= deadline:
            raise ContainerError(f"container {row.name} is not ready as {question}: {reason}", hint=hint)
        await anyio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
