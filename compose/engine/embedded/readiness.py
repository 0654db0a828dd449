"""When a container without a health check is ready that others wait for: its server is asked.

Which protocol it speaks is told by the image's name, else by a port that the image or the service exposes,
else by the program that runs. Where it listens is what its command line says, its environment, or the usual
port. A health check of the user's, `disable: true` too, is never overridden.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from compose.errors import ContainerError

from .handshake import Question, ask
from .threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.runtime.spec import ContainerSpec, Process
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
BY_PROGRAM = {
    "mysql": ("mysqld", "mariadbd", "mysqld_safe", "mariadbd-safe"),
    "postgres": ("postgres",),
    "redis": ("redis-server", "valkey-server", "keydb-server"),
    "memcached": ("memcached",),
    "rabbitmq": ("rabbitmq-server",),
    "http": ("nginx", "httpd", "caddy", "traefik"),
}
PORT_VARIABLES = {"mysql": "MYSQL_TCP_PORT", "postgres": "PGPORT", "rabbitmq": "RABBITMQ_NODE_PORT"}
"""What the server itself reads; a command line comes before it."""
PORT_OPTIONS = {
    "mysql": ("--port", "-P"),
    "postgres": ("--port", "-p", "-cport", "port"),
    "redis": ("--port",),
    "memcached": ("--port", "-p"),
}
_HTTP_PORTS = (80, 8080, 8000, 3000)
_PATIENCE = 300.0
"""Seconds after which a server that runs but is not ready counts as one that never will be."""
_SILENCE = 10.0
"""Seconds after which it is said why a server is not ready yet."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


def choose(service: Mapping[str, Any], spec: ContainerSpec) -> Question | None:
    """Whom to ask what; None where nobody knows, or the service says that there is no check."""
    if (service.get("healthcheck") or {}).get("disable") or service.get("healthcheck", {}).get("test"):
        return None
    exposed = _tcp_ports(spec)
    usual = next((number for number in exposed if number in BY_PORT), 0)
    named = _by_name(str(spec.get("image_name") or ""))
    protocol = named or BY_PORT.get(usual) or _by_program(spec)
    if protocol in ("", "http"):
        known = next((number for number in _HTTP_PORTS if number in exposed), 0)
        port = known or (exposed or [80])[0] if protocol else known
        protocol = "http" if port else ""
    elif usual and not named:
        port = usual
    else:
        usual = next(number for number, name in BY_PORT.items() if name == protocol)
        port = _stated_port(protocol, spec) or usual
    if not protocol:
        return None
    return Question(protocol, _address(spec), port, spec.get("network_namespace") or "")


def _by_program(spec: ContainerSpec) -> str:
    """The protocol of the program, or of that which an entry point gets as its first argument."""
    programs = {os.path.basename(word) for word in (_process(spec).get("args") or [])[:2]}
    return next((name for name, known in BY_PROGRAM.items() if programs.intersection(known)), "")


def _stated_port(protocol: str, spec: ContainerSpec) -> int:
    """The port that the server's command line names, else its environment; 0 where neither does."""
    options = PORT_OPTIONS.get(protocol, ())
    words = _process(spec).get("args") or []
    pairs = zip(words, [*words[1:], ""], strict=False)
    stated = [_value(word, following, options) for word, following in pairs]
    variable = PORT_VARIABLES.get(protocol, "") + "="
    if len(variable) > 1:
        of_process = _process(spec).get("env") or []
        stated += [text.removeprefix(variable) for text in of_process if text.startswith(variable)]
    return next((int(text) for text in stated if re.fullmatch("[1-9][0-9]{0,4}", text)), 0)


def _value(word: str, following: str, options: tuple[str, ...]) -> str:
    """What ``--port=1``, ``--port 1``, ``-p1`` or ``port=1`` give, or ""."""
    name, given, value = word.partition("=")
    if name in options:
        return value if given else following
    return word[2:] if word[:2] in options else ""


def _process(spec: ContainerSpec) -> Process:
    return (spec.get("oci") or {}).get("process") or {}


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
    began, pause, told = time.monotonic(), _FIRST_PAUSE, ""
    hint = f"pycompose logs {row.service}"
    while True:
        state = present(context.paths, row.id, row.name)
        if state.get("status") in ("exited", "dead"):
            raise ContainerError(f"container {row.name} {ended(state)} before it was ready", hint=hint)
        reason = await in_thread(ask, question, abandon=True)
        if not reason:
            return
        waited = time.monotonic() - began
        if waited >= _SILENCE and reason != told:
            told = reason
            context.detail(row.name, f"is not ready yet: {reason}", None)
        if waited >= _PATIENCE:
            raise ContainerError(f"container {row.name} is not ready as {question}: {reason}", hint=hint)
        await anyio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
