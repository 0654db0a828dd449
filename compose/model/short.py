"""Short forms -> long forms: one function a key, applied as a pass to each document before it is merged.

Compose specification, 05-services.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from compose.errors import ModelError
from compose.model.passes import Pass
from compose.model.tree import RESET, Context, Map, Seq
from compose.model.values import go_text, port_range

if TYPE_CHECKING:
    from compose.model.passes import Function
    from compose.model.tree import Position

_VOLUME_OPTIONS = ("ro", "rw", "nocopy", "z", "Z")
_CONSISTENCY = ("consistent", "cached", "delegated")
"""What other systems than Linux make of these holds here anyway."""
PROPAGATIONS = frozenset({"rprivate", "private", "rshared", "shared", "rslave", "slave"})
MOST = {"ports": 20_000, "volumes": 10_000, "devices": 10_000, "configs": 10_000, "secrets": 10_000}
"""So many of them may a file have, ranges of ports counted as what they stand for: each is a listener."""
MAX_COMMANDS = 512 << 10
"""Characters of all commands of a file that are written as one string."""
_FEWER = {"ports": "publish fewer, or use network_mode: host"}
PROTOCOLS = frozenset({"tcp", "udp", "sctp"})


def mapping(at: Position, entries: dict[str, Any]) -> Map:
    """A mapping whose keys all stand at one place."""
    result = Map(at)
    for key, value in entries.items():
        result.put(key, value, (at, at))
    return result


def string_to_list(value: Any, context: Context) -> Any:
    if isinstance(value, str):
        result = Seq(context.at)
        result.add(value, context.at)
        return result
    return value


def _without_empty(value: Any, context: Context) -> Any:
    """A list, or a string that stands for a list of one, without empty entries."""
    listed = string_to_list(value, context)
    if not isinstance(listed, Seq):
        return listed
    result = Seq(listed.start)
    for item, at in listed.entries():
        if item != "":
            result.add(item, at)
    return result


def _names_to_map(value: Any, context: Context) -> Any:
    """``[front, back]`` -> ``{front: null, back: null}``."""
    if not isinstance(value, Seq):
        return value
    result = Map(context.at)
    for name, at in value.entries():
        result.put(str(name), None, (at, at))
    return result


def _build(value: Any, context: Context) -> Any:
    return mapping(context.at, {"context": value}) if isinstance(value, str) else value


def _depends_on(value: Any, context: Context) -> Any:
    if not isinstance(value, Seq):
        return value
    result = Map(context.at)
    for name, at in value.entries():
        result.put(str(name), mapping(at, {"condition": "service_started", "required": True}), (at, at))
    return result


def _env_file(value: Any, context: Context) -> Any:
    items = string_to_list(value, context)
    if isinstance(items, Seq):
        for index, item in enumerate(items):
            if isinstance(item, str):
                items[index] = mapping(items.where(index), {"path": item})
    return items


def _extends(value: Any, context: Context) -> Any:
    return mapping(context.at, {"service": value}) if isinstance(value, str) else value


def _gpus(value: Any, context: Context) -> Any:
    if isinstance(value, str):
        result = Seq(context.at)
        result.add(mapping(context.at, {"count": "all"}), context.at)
        return result
    return value


def _file_mount(value: Any, context: Context) -> Any:
    return mapping(context.at, {"source": value}) if isinstance(value, str) else value


def _device(value: Any, context: Context) -> Any:
    if not isinstance(value, str):
        return value
    parts = value.split(":")
    if len(parts) > 3:
        raise context.error(
            f"`{value}` has too many colons", "write source:target:permissions, or the long form"
        )
    source = parts[0]
    target = parts[1] if len(parts) > 1 and parts[1] else source
    permissions = parts[2] if len(parts) > 2 else "rwm"
    return mapping(context.at, {"source": source, "target": target, "permissions": permissions})


def _key_values(value: Any, context: Context) -> Any:
    """``[name=path]`` -> ``{name: path}``."""
    if not isinstance(value, Seq):
        return value
    result = Map(context.at)
    for item, at in value.entries():
        name, equals, text = str(item).partition("=")
        if not equals:
            raise Context(context.path, at, at).error(f"`{item}` lacks its value", "write NAME=VALUE")
        result.put(name, text, (at, at))
    return result


def _ssh(value: Any, context: Context) -> Any:
    if not isinstance(value, Seq):
        return value
    result = Map(context.at)
    for item, at in value.entries():
        name, equals, path = str(item).partition("=")
        if not equals and name != "default":
            raise Context(context.path, at, at).error(
                f"`{item}` lacks a path", f"write `default`, or {name}=PATH"
            )
        result.put(name, path if equals else None, (at, at))
    return result


def _text(value: Any, context: Context) -> Any:
    return value if isinstance(value, str) else go_text(value)


def _external(value: Any, context: Context) -> Any:
    """The old ``external: {name: x}`` -> ``external: true, name: x``."""
    if not isinstance(value, Map) or not isinstance(value.get("external"), Map):
        return value
    old, at = value["external"], value.where("external")
    value["external"] = True
    if "name" in old:
        if "name" in value and value["name"] != old["name"]:
            raise context.error(
                "`name` and `external.name` differ", "keep `name` only, with `external: true`"
            )
        value.put("name", old["name"], at)
    return value


# -- ports ---------------------------------------------------------------------------------------------


def _ports(value: Any, context: Context) -> Any:
    if not isinstance(value, Seq):
        return value
    result = Seq(value.start)
    for index, (item, at) in enumerate(value.entries()):
        here = Context((*context.path, index), at, at)
        _whole(item, here)
        if isinstance(item, int) and not isinstance(item, bool):
            item = str(item)
        if isinstance(item, str):
            for port in parse_port(item, here):
                result.add(mapping(at, port), at)
        else:
            result.add(item, at)
    return result


_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})(?:/[a-zA-Z]*)?\Z")


def check_numbers(document: Map) -> None:
    """An error where what is yet to be written out would come to more than anybody means."""
    services = document.get("services")
    left = dict(MOST)
    characters = MAX_COMMANDS
    for name, service in services.items() if isinstance(services, Map) else ():
        for key in ("command", "entrypoint") if isinstance(service, Map) else ():
            characters -= len(service[key]) if isinstance(service.get(key), str) else 0
            if characters < 0:
                at = service.where(key)[1]
                problem = f"the commands come to more than {MAX_COMMANDS >> 10} KiB"
                raise Context(("services", name, key), at, at).error(problem, "write scripts into files")
        for key in MOST if isinstance(service, Map) else ():
            items = service.get(key)
            for index, item in enumerate(items if isinstance(items, Seq) else ()):
                left[key] -= _stands_for(item)
                if left[key] < 0:
                    at = items.where(index)
                    context = Context(("services", name, key, index), at, at)
                    raise context.error(f"more than {MOST[key]} {key}", _FEWER.get(key))


def _stands_for(item: Any) -> int:
    found = _RANGE.search(item) if isinstance(item, str) else None
    return max(1, int(found[2]) - int(found[1]) + 1) if found else 1


def _expose(value: Any, context: Context) -> Any:
    if isinstance(value, Seq):
        for index, (item, at) in enumerate(value.entries()):
            _whole(item, Context((*context.path, index), at, at))
    return value


def _whole(item: Any, context: Context) -> None:
    """A port is no fraction, not even 80.0; docker compose refuses it too."""
    if isinstance(item, float):
        raise context.error(f"`{item}` is not a port", "write a whole number")


def parse_port(spec: str, context: Context) -> list[dict[str, Any]]:
    """``[[IP:]HOST:]CONTAINER[/PROTOCOL]`` with ranges -> one entry a container port."""
    address, _, protocol = spec.partition("/")
    parts = address.split(":")
    container = parts[-1]
    host = parts[-2] if len(parts) > 1 else ""
    host_ip = _host_ip(":".join(parts[:-2]), context)
    protocol = (protocol or "tcp").lower()
    if protocol not in PROTOCOLS:
        raise context.error(f"`{protocol}` is not a protocol", "write tcp, udp or sctp")
    if not container:
        raise context.error(f"`{spec}` has no container port", "write HOST:CONTAINER, such as 8080:80")
    try:
        first, last = port_range(container)
        host_first, host_last = port_range(host) if host else (0, 0)
    except ValueError as problem:
        raise context.refusal(problem) from None
    if first == 0:
        raise context.error(f"`{spec}`: a container's port cannot be 0", "write a number from 1 to 65535")
    single = first == last
    if host and host_last - host_first != last - first and not single:
        raise context.error(
            f"`{spec}`: the ranges of host and container differ in length", "make both ranges equally long"
        )
    ports = []
    for offset in range(last - first + 1):
        port: dict[str, Any] = {"mode": "ingress"}
        if host_ip:
            port["host_ip"] = host_ip
        port["target"] = first + offset
        if host:
            spread = single and host_first != host_last
            port["published"] = f"{host_first}-{host_last}" if spread else str(host_first + offset)
        port["protocol"] = protocol
        ports.append(port)
    return sorted(ports, key=lambda port: f"{port['target']}/{protocol}")


def _host_ip(text: str, context: Context) -> str:
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if text:
        check_ip(text, context)
    return text


def check_ip(text: str, context: Context) -> None:
    """An error unless the text is an IPv4 or IPv6 address."""
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
            return
        except (OSError, ValueError):
            continue
    raise context.error(f"`{text}` is not an IP address", "write an address such as 127.0.0.1 or [::1]")


# -- volumes -------------------------------------------------------------------------------------------


def _volume(value: Any, context: Context) -> Any:
    return mapping(context.at, parse_volume(value, context)) if isinstance(value, str) else value


def parse_volume(spec: str, context: Context) -> dict[str, Any]:
    """``[SOURCE:]TARGET[:OPTIONS]`` -> the long form."""
    if not spec:
        raise context.error("a volume cannot be empty", "write SOURCE:TARGET, such as ./data:/data")
    if len(spec.encode("utf-8", "surrogateescape")) < 3:
        return {"type": "volume", "target": spec}
    fields = _split_volume(spec)
    if "" in fields:
        raise context.error(f"`{spec}` has nothing between two colons", "write SOURCE:TARGET[:ro]")
    if len(fields) > 3:
        raise context.error(f"`{spec}` has too many colons", "write SOURCE:TARGET[:ro], or the long form")
    source = fields[0] if len(fields) > 1 else ""
    target = fields[1] if len(fields) > 1 else fields[0]
    volume: dict[str, Any] = {"type": "bind" if is_path(source) else "volume"}
    if source:
        volume["source"] = source
    volume["target"] = posixpath.normpath(target).replace("//", "/")
    bind: dict[str, Any] = {}
    named: dict[str, Any] = {}
    for option in fields[2].split(",") if len(fields) > 2 else ():
        if option in ("ro", "rw"):
            volume["read_only"] = option == "ro"
        elif option == "nocopy":
            named["nocopy"] = True
        elif option in PROPAGATIONS:
            bind["propagation"] = option
        elif option in ("z", "Z"):
            bind["selinux"] = option
    if volume["type"] == "bind":
        bind["create_host_path"] = True
    if bind:
        volume["bind"] = mapping(context.at, bind)
    if volume["type"] == "volume" or named:
        volume["volume"] = mapping(context.at, named)
    if not volume.get("read_only", True):
        del volume["read_only"]
    return volume


def unknown_options(spec: str) -> list[str]:
    """The options of a volume in short form that mean nothing; docker compose passes over them."""
    fields = _split_volume(spec)
    options = fields[2].split(",") if len(fields) == 3 and "${" not in fields[2] else []
    return [one for one in options if one and one not in (*_VOLUME_OPTIONS, *_CONSISTENCY, *PROPAGATIONS)]


def _split_volume(spec: str) -> list[str]:
    """Split at colons, but not inside of ``${...}`` nor after the letter of a Windows drive."""
    fields = []
    field = ""
    variables = 0
    for index, character in enumerate(spec):
        if character == "$" and spec[index + 1 : index + 2] == "{":
            variables += 1
        elif character == "}" and variables:
            variables -= 1
        drive = len(field) == 1 and field.isalpha()
        if character == ":" and not variables and not drive:
            fields.append(field)
            field = ""
        else:
            field += character
    return [*fields, field]


def is_path(source: str) -> bool:
    """Whether the source of a volume is a path on the host rather than the name of a volume."""
    return (
        source[:1] in (".", "/", "~")
        or source.startswith("\\\\")
        or (source[1:2] == ":" and source[0].isalpha())
    )


_TABLE = {
    "configs.*": _external,
    "networks.*": _external,
    "secrets.*": _external,
    "volumes.*": _external,
    "services.*.build": _build,
    "services.*.build.additional_contexts": _key_values,
    "services.*.build.provenance": _text,
    "services.*.build.sbom": _text,
    "services.*.build.secrets.*": _file_mount,
    "services.*.build.ssh": _ssh,
    "services.*.configs.*": _file_mount,
    "services.*.depends_on": _depends_on,
    "services.*.develop.watch.*.ignore": string_to_list,
    "services.*.develop.watch.*.include": string_to_list,
    "services.*.devices.*": _device,
    "services.*.dns": _without_empty,
    "services.*.env_file": _env_file,
    "services.*.expose": _expose,
    "services.*.extends": _extends,
    "services.*.gpus": _gpus,
    "services.*.label_file": string_to_list,
    "services.*.models": _names_to_map,
    "services.*.networks": _names_to_map,
    "services.*.ports": _ports,
    "services.*.secrets.*": _file_mount,
    "services.*.volumes.*": _volume,
}
SHORT_FORMS = Pass(_TABLE)


def _where_it_can(function: Function) -> Function:
    """A function whose errors leave the value as it is: variables that stay cannot always be split."""

    def lenient(value: Any, context: Context) -> Any:
        try:
            return function(value, context)
        except ModelError:
            return value

    return lenient


_SPLIT = ("additional_contexts", "devices.*", "ports", "volumes.*")
SHORT_FORMS_WITH_VARIABLES = Pass(
    {key: _where_it_can(one) if key.endswith(_SPLIT) else one for key, one in _TABLE.items()}
)
"""The same for files whose variables were not replaced."""

__all__ = [
    "RESET",
    "SHORT_FORMS",
    "SHORT_FORMS_WITH_VARIABLES",
    "check_ip",
    "is_path",
    "mapping",
    "parse_port",
    "parse_volume",
    "unknown_options",
]
