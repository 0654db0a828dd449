"""Which value of a compose file is to blame for what the system has refused, by what it was refused for.

The runtime knows no compose file: it says the step and what it was done to. A row of the table is how such a
message begins, and the paths below the service that may be meant; the first one that is in the file counts.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from compose.errors import ComposeError
    from compose.model import Project

    Path = tuple[str | int, ...]
    Paths = Callable[[Mapping[str, Any], str], Iterator[Path]]

KEPT_ALREADY = re.compile(r"^\S+:\d+:\d+: ")
"""A message with a place."""


def place(project: Project | None, service: str, error: ComposeError) -> bool:
    """Begin the error's message with the place of the value that is to blame; whether there is one."""
    if project is None or service not in project.services or KEPT_ALREADY.match(error.message):
        return False
    at = place_of(project, service, error.message)
    if at:
        error.message = f"{at}: service {service}: {error.message}"
    return bool(at)


def place_of(project: Project, service: str, message: str) -> str:
    """``FILE:LINE:COLUMN`` of the value that a message is about; "" when it is none of the service's."""
    config = project.services[service]
    for pattern, paths in _TABLE:
        found = pattern.match(message)
        if found is not None:
            for path in paths(config, found.group(1)):
                return str(project.where(("services", service, *path)))
    return ""


def _value(key: str) -> Paths:
    """The value of one key."""

    def paths(config: Mapping[str, Any], _item: str) -> Iterator[Path]:
        if config.get(key) not in (None, "", [], {}):
            yield (key,)

    return paths


def _entry(key: str) -> Paths:
    """The entry of a list or mapping that is the item."""

    def paths(config: Mapping[str, Any], item: str) -> Iterator[Path]:
        entries = config.get(key) or ()
        if isinstance(entries, dict):
            yield from ((key, name) for name in entries if name == item)
        else:
            yield from ((key, index) for index, entry in enumerate(entries) if str(entry) == item)

    return paths


def _program(config: Mapping[str, Any], item: str) -> Iterator[Path]:
    """The entry point comes before the command; without one in the file the image may have it."""
    for key in ("entrypoint", "command"):
        words = config.get(key) or ()
        if words and str(words[0]) == item:
            yield (key, 0)


def _mount(config: Mapping[str, Any], item: str) -> Iterator[Path]:
    """What is mounted there; of several the one that counts."""
    for index, mount in reversed([*enumerate(config.get("volumes") or ())]):
        if posixpath.normpath(str(mount["target"])) == item:
            yield "volumes", index
    for index, entry in enumerate(config.get("tmpfs") or ()):
        if posixpath.normpath(str(entry).partition(":")[0]) == item:
            yield "tmpfs", index
    for kind, base in (("secrets", "/run/secrets/"), ("configs", "/")):
        for index, use in reversed([*enumerate(config.get(kind) or ())]):
            target = str(use.get("target") or use["source"])
            if posixpath.normpath(posixpath.join(base, target)) == item:
                yield kind, index


def _source(config: Mapping[str, Any], item: str) -> Iterator[Path]:
    """What is mounted from there: a path of the host, or a part of a volume or an image."""
    for index, mount in enumerate(config.get("volumes") or ()):
        part = str((mount.get(mount["type"]) or {}).get("subpath") or "")
        if part and item.endswith(f"/{posixpath.normpath(part)}"):
            yield "volumes", index, mount["type"], "subpath"
        elif mount.get("source") == item:
            yield "volumes", index


def _device(config: Mapping[str, Any], item: str) -> Iterator[Path]:
    for index, device in enumerate(config.get("devices") or ()):
        target = device.get("target") or device.get("source") if isinstance(device, dict) else device
        if str(target) == item:
            yield "devices", index


def _port(config: Mapping[str, Any], item: str) -> Iterator[Path]:
    """``8080/tcp``, one of a range it may be."""
    number, _, protocol = item.partition("/")
    for index, port in enumerate(config.get("ports") or ()):
        first, _, last = str(port.get("published") or "").partition("-")
        if first.isdecimal() and int(first) <= int(number) <= int(last or first):
            if str(port.get("protocol") or "tcp") == protocol:
                yield "ports", index


def _address(config: Mapping[str, Any], item: str) -> Iterator[Path]:
    for key, options in (config.get("networks") or {}).items():
        for version in (4, 6):
            if options and str(options.get(f"ipv{version}_address") or "") == item:
                yield "networks", key, f"ipv{version}_address"


_TABLE: tuple[tuple[re.Pattern[str], Paths], ...] = tuple(
    (re.compile(pattern), paths)
    for pattern, paths in (
        (r"user (.+?): ", _value("user")),
        (r"(set user and groups): ", _value("user")),
        (r"group_add (.+?): ", _entry("group_add")),
        (r"sysctls: set (\S+?)(?: to .*)?: ", _entry("sysctls")),
        (r"set sysctl (\S+?): ", _entry("sysctls")),
        (r"working directory (.+): ", _value("working_dir")),
        (r"exec (.+?): ", _program),
        (r"set limit (\S+?): ", _entry("ulimits")),
        (r"(set oom_score_adj): ", _value("oom_score_adj")),
        (r"(control group) \S+: not a path", _value("cgroup_parent")),
        (r"(?:make the mount point|mount) (/.*?): ", _mount),
        (r"open (/.*?): ", _source),
        (r"make device (/.*?): ", _device),
        (r"set the host name (.+?): ", _value("hostname")),
        (r"(?:\S+: )?publish port (?:\S+:)?(\d+/\w+): ", _port),
        (r"network \S+: address (?:of \S+ )?(\S+) ", _address),
    )
)
