"""A project as `docker compose config` prints it, for people and for comparison.

The model keeps a few things that docker compose's output loses or spells in its own way: limits of 0, the
content behind `environment`, extensions inside of services. Here they are made alike. In what is printed a
``$`` is doubled, so that the output is itself a compose file.
"""

from __future__ import annotations

import json
import math
import re

from compose.model.emit import emit
from compose.model.key_order import ordered
from compose.model.tree import error
from compose.model.values import go_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from compose.model.project import Project
    from compose.model.tree import Path

_NAMED = frozenset(
    {
        *("additional_contexts", "annotations", "args", "aux_addresses", "depends_on", "driver_opts"),
        *("environment", "labels", "models", "networks", "options", "storage_opt", "sysctls", "ulimits"),
    }
)
"""Keys whose value maps names that the user chooses."""
_NUMBERS = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_FLOAT = re.compile(r'^( *(?:"(?:[^"\\\n]|\\.)*": )?)(-?[0-9.]+(?:e[-+][0-9]+|\.0))(,?)$', re.M)
"""A line of JSON whose number Go may write otherwise."""
_SECTIONS = ("configs", "networks", "secrets", "services", "volumes", "models")


def document(project: Project, kind: str) -> dict[str, Any]:
    """The project as one mapping; `kind` is ``json`` or ``yaml``, which differ in extensions and models."""
    extensions = project.extensions
    if kind == "json":
        extensions = {key: empty_lists_as_null(value) for key, value in extensions.items()}
    result: dict[str, Any] = {"name": project.name, **extensions}
    for section in _SECTIONS:
        values = getattr(project, section)
        if values and not (section == "models" and kind == "json"):
            result[section] = json.loads(json.dumps(values))
    services = result.setdefault("services", {})
    for service in services.values():
        _service(service, kind, services)
    for section in ("networks", "volumes", "configs", "secrets"):
        for resource in result.get(section, {}).values():
            if resource.pop("x-#unnamed", False):
                del resource["name"]
    for section in ("configs", "secrets"):
        for resource in result.get(section, {}).values():
            if section == "secrets" or "environment" in resource:
                resource.pop("content", None)
    if kind == "json":
        for section in _SECTIONS:
            if section in result:
                result[section] = {key: _without_extensions(value) for key, value in result[section].items()}
    else:
        for network in result.get("networks", {}).values():
            if network.get("ipam") == {}:
                del network["ipam"]
    result = ordered(result, kind)
    return {key: result[key] for key in sorted(result)} if kind == "json" else result


def _service(service: dict[str, Any], kind: str, names: Any) -> None:
    if kind == "json":
        _as_peer_spells(service)
        return
    for limits in _ulimits(service):
        for name, value in limits.items():
            if value == 0:
                limits[name] = {"soft": 0, "hard": 0}
            elif isinstance(value, dict):
                limits[name] = {"soft": 0, "hard": 0, **value}
    for key in ("command", "entrypoint"):
        if service.get(key) is None:
            service.pop(key, None)
    deploy = service.get("deploy", {})
    for key in ("resources", "placement"):
        if deploy.get(key) == {}:
            del deploy[key]
    if "extra_hosts" in service:
        service["extra_hosts"] = sorted(set(service["extra_hosts"]))
    depends = service.get("depends_on", {})
    for name in [name for name in depends if name not in names]:
        del depends[name]
    if not depends:
        service.pop("depends_on", None)


def _ulimits(service: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the containers and those of the build."""
    return [one["ulimits"] for one in (service, service.get("build") or {}) if one.get("ulimits")]


def _as_peer_spells(service: dict[str, Any]) -> None:
    """What is lost or spelt in its own way in docker compose's JSON."""
    for limits in _ulimits(service):
        for name, value in limits.items():
            if value == 0:
                limits[name] = {}
            elif isinstance(value, dict):
                limits[name] = {key: number for key, number in value.items() if number}
    for watch in service.get("develop", {}).get("watch", ()):
        watch.setdefault("exec", {}).setdefault("command", None)
    blkio = service.get("blkio_config", {})
    for key, devices in blkio.items():
        if isinstance(devices, list):
            blkio[key] = [{name.capitalize(): value for name, value in one.items()} for one in devices]


def _without_extensions(value: Any, *, named: bool = False) -> Any:
    """What is no extension; below `_NAMED` keys are the user's own, and none of them is one."""
    if isinstance(value, dict):
        return {
            key: _without_extensions(item, named=key in _NAMED)
            for key, item in value.items()
            if named or not key.startswith("x-")
        }
    if isinstance(value, list):
        return [_without_extensions(item) for item in value]
    return value


def empty_lists_as_null(value: Any, kept: frozenset[str] = frozenset()) -> Any:
    """What docker compose keeps as it stands has in its JSON lost the lists that hold nothing.

    Those below the keys `kept` have gone through other hands, and are still there.
    """
    if isinstance(value, dict):
        return {
            key: item
            if item == [] and key in kept
            else empty_lists_as_null(item, frozenset() if key.startswith("x-") else kept)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [empty_lists_as_null(item, kept) for item in value] or None
    return value


def presented(project: Project, kind: str) -> str:
    """The project as text; every ``$`` of a value is doubled, in JSON those of keys too, as the peer does."""
    shown = document(project, kind)
    if kind == "json":
        return as_json(shown, project).replace("$", "$$")
    return text(_escaped(shown), kind)


def _escaped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def text(shown: Any, kind: str, *, step: int = 2) -> str:
    """A mapping as JSON or YAML text, the same bytes for the same values."""
    return as_json(shown) if kind == "json" else emit(shown, step)


def as_json(shown: Any, project: Project | None = None) -> str:
    """Values as JSON text, in the words of Go's encoder; raises ModelError for a NaN or an infinity.

    Bytes that are no UTF-8, which JSON cannot hold, become U+FFFD; what HTML or JavaScript would take for
    more than text is written as its number.
    """
    try:
        plain = json.dumps(shown, indent=2, ensure_ascii=False, allow_nan=False)
    except ValueError:
        path, value = next(_no_numbers(shown))
        place = project.where(path) if project else None
        problem = f"JSON has no number such as {go_text(value)}"
        raise error(place, path, problem, "use --format yaml, or write it in quotes") from None
    dumped = _FLOAT.sub(_go_number, plain)
    return dumped.encode("utf-8", "surrogateescape").decode("utf-8", "replace").translate(_NUMBERS)


def _no_numbers(value: Any, path: Path = ()) -> Iterator[tuple[Path, float]]:
    """Where there is a NaN or an infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        yield path, value
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _no_numbers(item, (*path, key))


def _go_number(line: re.Match[str]) -> str:
    """Without an exponent from 1e-6 to 1e21, and without zeros that say nothing."""
    from decimal import Decimal

    before, text, after = line.groups()
    if float(text) == 0 or 1e-6 <= abs(float(text)) < 1e21:
        text = format(Decimal(text), "f").removesuffix(".0")
    return f"{before}{text.replace('e-0', 'e-')}{after}"
