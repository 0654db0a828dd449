"""A service as ``run`` has it: its configuration with the changes that the command line asks for. Pure."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ModelError, UsageError
from compose.model.short import parse_port, parse_volume
from compose.model.tree import Context, Map, Position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_OF_THE_SERVICE = frozenset(
    {"container_name", "restart", "scale", "mac_address", "pre_start", "post_start", "pre_stop"}
)
_FIXED = ("ipv4_address", "ipv6_address", "mac_address")
"""What only one container can have: it is the service's own."""


class Changes(NamedTuple):
    """The options of ``run`` that change the service."""

    command: Sequence[str] = ()
    entrypoint: str | None = None
    environment: Mapping[str, str] = {}
    labels: Sequence[str] = ()
    user: str | None = None
    working_dir: str | None = None
    volumes: Sequence[str] = ()
    publish: Sequence[str] = ()
    service_ports: bool = False
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    tty: bool = False
    interactive: bool = True
    use_aliases: bool = False


def changed(service: Mapping[str, Any], changes: Changes, directory: str) -> dict[str, Any]:
    """The configuration of the one-off container; relative paths are below `directory`.

    As docker compose has it: no restarts, no hooks, ports only where asked for; a new entry point drops the
    command.
    """
    found = {key: value for key, value in service.items() if key not in _OF_THE_SERVICE}
    if "deploy" in found:
        left_out = ("restart_policy", "replicas")
        found["deploy"] = {key: value for key, value in found["deploy"].items() if key not in left_out}
    _set_command(found, changes)
    found["tty"], found["stdin_open"] = changes.tty, changes.interactive
    found["environment"] = {**(found.get("environment") or {}), **changes.environment}
    found["labels"] = {**(found.get("labels") or {}), **dict(map(_label, changes.labels))}
    if changes.user is not None:
        found["user"] = changes.user
    if changes.working_dir is not None:
        found["working_dir"] = changes.working_dir
    _set_ports(found, changes)
    own = [_volume(spec, directory) for spec in changes.volumes]
    covered = {one["target"] for one in own}
    given = [one for one in found.get("volumes") or () if one["target"] not in covered]
    found["volumes"] = [*given, *own]
    _set_capabilities(found, changes)
    if "networks" in found:
        networks = found["networks"] or {}
        found["networks"] = {key: _network(options, changes) for key, options in networks.items()}
    return found


def _set_command(found: dict[str, Any], changes: Changes) -> None:
    if changes.entrypoint is not None:
        import shlex

        try:
            found["entrypoint"] = shlex.split(changes.entrypoint)
        except ValueError as error:
            raise UsageError(f"--entrypoint {changes.entrypoint}: {error}") from None
        found["command"] = []
    if changes.command:
        found["command"] = list(changes.command)


def _set_ports(found: dict[str, Any], changes: Changes) -> None:
    if changes.publish:
        found["ports"] = [port for spec in changes.publish for port in _ports(spec)]
    elif not changes.service_ports:
        found["ports"] = []


def _set_capabilities(found: dict[str, Any], changes: Changes) -> None:
    for key, more, less in (
        ("cap_add", changes.cap_add, changes.cap_drop),
        ("cap_drop", changes.cap_drop, changes.cap_add),
    ):
        if more or less:
            found[key] = [*(one for one in found.get(key) or () if one not in less), *more]


def _network(options: Mapping[str, Any] | None, changes: Changes) -> dict[str, Any] | None:
    left_out = (*_FIXED, *(() if changes.use_aliases else ("aliases",)))
    return {key: value for key, value in (options or {}).items() if key not in left_out} or None


def _label(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


class _Option(Context):
    """The place of a value that stands on the command line."""

    def __init__(self, text: str) -> None:
        here = Position("", 0, 0)
        super().__init__((), here, here)
        self._text = text

    def error(self, problem: str, hint: str | None = None) -> ModelError:
        return ModelError(f"{self._text}: {problem}", hint=hint)


def _ports(spec: str) -> list[dict[str, Any]]:
    return parse_port(spec, _Option(f"--publish {spec}"))


def _volume(spec: str, directory: str) -> dict[str, Any]:
    volume = parse_volume(spec, _Option(f"--volume {spec}"))
    found = {key: dict(value) if isinstance(value, Map) else value for key, value in volume.items()}
    if found["type"] == "bind":
        source = os.path.expanduser(str(found["source"]))
        found["source"] = posixpath.normpath(posixpath.join(directory, source))
    return found
