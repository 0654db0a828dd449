"""What a project implies without saying it: the default network, dependencies, real names, the Dockerfile."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from compose.model.tree import Map, Position, Seq, error

if TYPE_CHECKING:
    from collections.abc import Callable

NAMESPACES = ("network_mode", "ipc", "pid", "uts", "cgroup")
UNNAMED = "x-#unnamed"
"""Marks what the file gives an empty name: docker compose prints none then, but things need one."""

RESOURCES = ("networks", "volumes", "configs", "secrets")


def normalise(tree: Map, name: str, lookup: Callable[[str], str | None]) -> Map:
    """Fill in what is implied, in place."""
    services = _section(tree, "services")
    for service in services.values():
        if isinstance(service, Map):
            _service(service, lookup)
    _default_network(tree, services)
    for kind in RESOURCES:
        _real_names(tree, kind, name)
    return tree


def _section(tree: Map, key: str) -> Map:
    if not isinstance(tree.get(key), Map):
        tree.put(key, Map(tree.start), (tree.start, tree.start))
    section = tree[key]
    assert isinstance(section, Map)
    return section


def _service(service: Map, lookup: Callable[[str], str | None]) -> None:
    if service.get("pull_policy") == "if_not_present":
        service["pull_policy"] = "missing"
    build = service.get("build")
    if isinstance(build, Map):
        if build.get("context") is None:
            build["context"] = "."
        if build.get("dockerfile") is None and build.get("dockerfile_inline") is None:
            build["dockerfile"] = "Dockerfile"
        if "args" in build:
            build["args"] = resolve_variables(build["args"], lookup, keep=False)
    if "environment" in service:
        service["environment"] = resolve_variables(service["environment"], lookup, keep=True)
    for volume in service.get("volumes") or ():
        if isinstance(volume, Map) and isinstance(volume.get("target"), str):
            volume["target"] = clean_path(volume["target"])
    for hook in service.get("pre_start") or ():
        if isinstance(hook, Map) and "image" not in hook and service.get("image"):
            hook.put("image", service["image"], service.where("image"))
    _dependencies(service)


def clean_path(path: str) -> str:
    """A path in a container without ``.``, ``..`` and doubled slashes."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def resolve_variables(value: Any, lookup: Callable[[str], str | None], *, keep: bool) -> Any:
    """Names without a value get it from the environment; without one there they stay (`keep`) or go."""
    if isinstance(value, Map):
        result = Map(value.start)
        for key, item in value.items():
            found = lookup(key) if item is None else item
            if found is not None or keep:
                result.put(key, found, value.where(key))
        return result
    if isinstance(value, Seq):
        listed = Seq(value.start)
        for item, at in value.entries():
            if isinstance(item, str) and "=" not in item:
                found = lookup(item)
                if found is not None:
                    item = f"{item}={found}"
                elif not keep:
                    continue
            listed.add(item, at)
        return listed
    return value


def _dependencies(service: Map) -> None:
    """Whoever links to a service, shares a namespace or mounts with it, depends on it."""
    depends = service.get("depends_on")
    if not isinstance(depends, Map):
        depends = Map(service.start)

    def imply(name: str, restart: bool, at: tuple[Position, Position]) -> None:
        if name not in depends:
            entry = Map(at[1])
            for key, value in (("condition", "service_started"), ("restart", restart), ("required", True)):
                entry.put(key, value, at)
            depends.put(name, entry, at)

    links = service.get("links")
    if isinstance(links, Seq):
        for link, where in links.entries():
            parts = str(link).split(":")
            imply(parts[0] if len(parts) == 2 else str(link), True, (where, where))
    for namespace in NAMESPACES:
        value = service.get(namespace)
        if isinstance(value, str) and value.startswith("service:"):
            imply(value.removeprefix("service:"), True, service.where(namespace))
    sources = service.get("volumes_from")
    if isinstance(sources, Seq):
        for source, where in sources.entries():
            if not str(source).startswith("container:"):
                imply(str(source).split(":")[0], False, (where, where))
    if depends:
        service.put("depends_on", depends, service.where("depends_on"))


def _default_network(tree: Map, services: Map) -> None:
    used = False
    for service in services.values():
        if not isinstance(service, Map) or "provider" in service or "network_mode" in service:
            continue
        networks = service.get("networks")
        if not networks:
            service.put("networks", Map(service.start), service.where("networks"))
            service["networks"].put("default", None, (service.start, service.start))
            used = True
        elif "default" in networks:
            used = True
    if used and "default" not in (tree.get("networks") or {}):
        _section(tree, "networks")["default"] = None


def _real_names(tree: Map, kind: str, project: str) -> None:
    section = tree.get(kind)
    if not isinstance(section, Map):
        tree.pop(kind, None)
        return
    for key, resource in section.items():
        if resource is None:
            at = section.where(key)
            resource = Map(at[0])
            section.put(key, resource, at)
        if resource.get("name") == "":
            resource[UNNAMED] = True
            resource["name"] = None
        if resource.get("name") is None:
            external = resource.get("external") in (True, "true", "1", "t", "T", "TRUE", "True")
            at = section.where(key)
            resource.put("name", key if external else f"{project}_{key}", at)


__all__ = ["NAMESPACES", "clean_path", "error", "normalise", "resolve_variables"]
