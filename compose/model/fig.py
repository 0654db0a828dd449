"""fig.yml: the format of Fig 1.0 (2014) and of Compose files of version 1, turned into that of today.

The file is one mapping of services, without `services:` around it. It is checked against schemas/fig.json as
it stands, then each document becomes the Compose file that means the same, and everything after that is
common to both. What meant something else in 2014:

* nothing is interpolated but ``$VAR`` and ``~`` in the host's part of a volume; a bare name there is a path
* paths start from the working directory (in a file that is extended: from that file)
* a variable without a value is the host's, else empty (today: unset); env files have no quotes
* an image that is built is called ``PROJECT_SERVICE``, a container ``PROJECT_SERVICE_N``
* a link has three names (``db``, ``db_1``, ``PROJECT_db_1``), and variables such as
  ``DB_PORT_5432_TCP_ADDR``. ``DB_PORT`` and ``DB_NAME`` are left out: Docker let the variables of an image or
  an env file win over them, and here they would win, over what is often a setting of that very name
* ``net``, ``dockerfile``, ``log_driver``, ``log_opt`` and ``volume_driver`` have other names today
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from compose.model.loader import Group, similar
from compose.model.schema import validate
from compose.model.short import mapping
from compose.model.tree import Map, Path, Position, Seq, error
from compose.model.values import go_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.model.inputs import Inputs

EXTENSION = "x-pycompose"
"""Top-level key of what Compose has no word for; docker compose ignores it."""

_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]")


def fig_name(text: str) -> str:
    """The name of a project as Fig makes it: other characters than letters and digits are left out."""
    return _NOT_IN_NAMES.sub("", text.lower()) or "default"


class FigGroup(Group):
    """A fig.yml and the files that its services extend."""

    def _prepared(self, document: Any, at: Position, *, partial: bool = True) -> Map:
        if not isinstance(document, Map):
            raise error(at, (), "a fig.yml is a mapping of services", "write `web:` and its keys below it")
        validate(document, partial=False, name="fig")
        return super()._prepared(Converter(self.inputs).document(document), at, partial=True)

    def check_base(self, base: Map, over: Map, at: Position, path: Path) -> None:
        """What points to other services cannot be inherited; image and build replace each other."""
        for key, old in (("links", "links"), ("volumes_from", "volumes_from"), ("network_mode", "net")):
            value = base.get(key)
            if value and (key != "network_mode" or str(value).startswith(("container:", "service:"))):
                raise error(at, path, f"that service has `{old}`, which cannot be inherited", "write it here")
        for one, other in (("image", "build"), ("build", "image")):
            if one in over and other not in over:
                base.pop(other, None)

    def finish(self, tree: Map) -> None:
        """What needs all services of the file: links, and the names of images."""
        services = tree["services"]
        Links(self, services).apply()
        for name, service in services.items():
            at = services.where(name)
            if "build" in service and "image" in service:
                place = service.where("image")[0]
                raise error(place, (name, "image"), "cannot stand beside `build`", "keep one of them")
            if "build" not in service and "image" not in service:
                raise error(
                    at[0], (name,), "has neither `image` nor `build`", "add `image: NAME` or `build: .`"
                )
            if "build" in service:
                service.put("image", f"{self.project}_{name}".lower(), service.where("build"))
        tree.put(EXTENSION, mapping(tree.start, {"separator": "_"}), (tree.start, tree.start))


class Converter:
    """Turns the services of one document into those of today; positions stay."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def document(self, document: Map) -> Map:
        """The Compose file that means the same."""
        names = set(document)
        services, volumes = Map(document.start), Map(document.start)
        for name, service in document.items():
            services.put(name, self._service(name, service, names, volumes), document.where(name))
        result = Map(document.start)
        for key, section in (("services", services), ("volumes", volumes)):
            if section:
                result.put(key, section, (document.start, document.start))
        return result

    def _service(self, name: str, service: Map, names: set[str], volumes: Map) -> Map:
        result = Map(service.start)
        for key, value in service.items():
            at = service.where(key)
            if value is None or key in ("detach", "dockerfile", "log_opt", "volume_driver"):
                continue
            convert = getattr(self, f"_{key}", None)
            result.put(key, convert(value, at[1]) if convert else value, at)
        self._renamed(name, service, result, names)
        if isinstance(service.get("volume_driver"), str):
            self._volume_driver(service, result, volumes)
        return result

    def _renamed(self, name: str, service: Map, result: Map, names: set[str]) -> None:
        """The keys that have another name or another place today."""
        if isinstance(service.get("dockerfile"), str):
            at = service.where("dockerfile")
            if not isinstance(result.get("build"), Map):
                raise error(at[0], (name, "dockerfile"), "needs `build`", "add `build: .`")
            result["build"].put("dockerfile", service["dockerfile"], at)
        logging = Map(service.start)
        for key, today in (("log_driver", "driver"), ("log_opt", "options")):
            result.pop(key, None)
            if service.get(key) is not None:
                logging.put(today, service[key], service.where(key))
        if logging:
            first = service.where("log_driver" if "log_driver" in service else "log_opt")
            result.put("logging", logging, first)
        net = result.pop("net", None)
        if net and net != "bridge":
            kind, colon, target = net.partition(":")
            if kind == "container" and colon and target in names:
                net = f"service:{target}"
            result.put("network_mode", net, service.where("net"))
        hostname = result.get("hostname")
        if isinstance(hostname, str) and "." in hostname and "domainname" not in service:
            result["hostname"], _, domain = hostname.partition(".")
            result.put("domainname", domain, service.where("hostname"))
        if isinstance(result.get("volumes_from"), Seq):
            listed = result["volumes_from"]
            for index, source in enumerate(listed):
                if source.partition(":")[0] not in names and not source.startswith("container:"):
                    listed[index] = f"container:{source}"

    def _build(self, value: str, at: Position) -> Map:
        return mapping(at, {"context": value})

    def _env_file(self, value: Any, at: Position) -> Seq:
        result = Seq(at)
        for path, where in value.entries() if isinstance(value, Seq) else [(value, at)]:
            result.add(mapping(where, {"path": path, "format": "raw"}), where)
        return result

    def _environment(self, value: Any, at: Position) -> Map:
        """A mapping in which every name has a value: the host's, else an empty one."""
        result = Map(at)
        if isinstance(value, Map):
            for key, item in value.items():
                result.put(key, self._variable(key) if item is None else item, value.where(key))
        else:
            for item, where in value.entries():
                key, equals, text = item.partition("=")
                result.put(key, text if equals else self._variable(key), (where, where))
        return result

    def _variable(self, name: str) -> str:
        return self.inputs.variable(name) or ""

    def _volumes(self, value: Seq, at: Position) -> Seq:
        result = Seq(value.start)
        for item, where in value.entries():
            host, colon, rest = item.partition(":")
            result.add(f"{self._host_path(host)}:{rest}" if colon else item, where)
        return result

    def _host_path(self, text: str) -> str:
        """``~`` and ``$VAR`` replaced, the latter where it is set; a bare name is a path too."""

        def replace(found: re.Match[str]) -> str:
            value = self.inputs.variable(found[1] or found[2])
            return found[0] if value is None else value

        text = _VARIABLE.sub(replace, text)
        return text if text.startswith(("/", "~")) else f"./{posixpath.normpath(text)}"

    def _volume_driver(self, service: Map, result: Map, volumes: Map) -> None:
        """With `volume_driver` a bare name is the driver's volume of that name, after all."""
        at = service.where("volume_driver")
        for index, item in enumerate(service.get("volumes") or ()):
            host, colon, _ = item.partition(":")
            if colon and host[:1] not in ("/", "~", ".", "$"):
                result["volumes"][index] = item
                entry = mapping(at[1], {"name": host, "driver": service["volume_driver"]})
                volumes.put(host, entry, at)


class Links:
    """`links`: checked, given their third name, and turned into the variables that Docker made of them."""

    def __init__(self, group: FigGroup, services: Map) -> None:
        self.group = group
        self.services = services
        self.warned = False

    def apply(self) -> None:
        """Complete every service that has links."""
        for name, service in self.services.items():
            links = service.get("links")
            if isinstance(links, Seq):
                pairs = self._pairs(name, links)
                self._variables(name, service, pairs, links)
                for target, _, at in pairs:
                    if f"{target}:{target}_1" not in links:
                        links.add(f"{target}:{target}_1", at)

    def _pairs(self, name: str, links: Seq) -> list[tuple[str, str, Position]]:
        pairs = []
        for index, (link, at) in enumerate(links.entries()):
            target, _, alias = link.partition(":")
            path = (name, "links", index)
            if target == name:
                raise error(at, path, "a service cannot link to itself", "remove the link")
            if target not in self.services:
                hint = similar(target, self.services) or f"add the service `{target}:`, or remove the link"
                raise error(at, path, f"there is no service `{target}`", hint)
            pairs.append((target, alias or target, at))
        return pairs

    def _variables(self, name: str, service: Map, pairs: list[tuple[str, str, Position]], links: Seq) -> None:
        found = Map(links.start)
        for target, alias, at in pairs:
            ports = _ports(self.services[target])
            if not ports and not self.warned:
                self.warned = True
                self.group.warn(
                    at,
                    f"{name}.links: {target} has neither `expose` nor `ports`, so no variables such "
                    f"as {_prefix(alias)}_PORT_80_TCP_ADDR are set; the host name {alias} leads there",
                )
            for known in dict.fromkeys((alias, f"{target}_1", f"{self.group.project}_{target}_1")):
                for key, value in _link_variables(known, target, ports):
                    found.put(key, value, (at, at))
        own = service.get("environment")
        if isinstance(own, Map):
            for key, value in own.items():
                found.put(key, value, own.where(key))
        if found:
            service.put("environment", found, service.where("environment" if own else "links"))


def _prefix(alias: str) -> str:
    return alias.upper().replace("-", "_")


def _ports(service: Map) -> list[tuple[int, str]]:
    """The container's ports that a service names, in order, with their protocols."""
    found = set()
    for port in service.get("ports") or ():
        if isinstance(port, Map):
            found.add((int(port["target"]), str(port.get("protocol") or "tcp")))
    for port in service.get("expose") or ():
        number, _, protocol = go_text(port).partition("/")
        if number.isdigit():
            found.add((int(number), protocol or "tcp"))
    return sorted(found)


def _link_variables(alias: str, target: str, ports: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """What Docker told a container about the one it is linked to; a name stands for the address."""
    for number, protocol in ports:
        prefix = f"{_prefix(alias)}_PORT_{number}_{protocol.upper()}"
        yield prefix, f"{protocol}://{target}:{number}"
        yield f"{prefix}_ADDR", target
        yield f"{prefix}_PORT", str(number)
        yield f"{prefix}_PROTO", protocol
