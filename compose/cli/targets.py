"""From a project to what the plan works with: all of it, or some of its services."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from compose.model import Project
    from compose.model.types import ServiceConfig
    from compose.plan.target import Target, Wanted

_MOST_CONTAINERS = 1000
"""Of one service; more have no room in a default subnet, and no machine to run on."""


def target(project: Project, services: Iterable[str] = (), scale: Mapping[str, int] | None = None) -> Target:
    """What the plan works with: `services` and all that they depend on, or the whole project."""
    from compose.errors import UsageError
    from compose.model import hash_of
    from compose.plan.target import Target, Wanted, WantedNetwork, WantedVolume

    chosen = list(services)
    for name in chosen:
        if name not in project.services:
            raise UsageError(f"no such service: {name}", hint="see 'pycompose config --services'")
    _check_scale(project, scale or {})
    needed = project.needed(chosen) if chosen else set(project.services)
    given = _given(project)
    wanted = []
    networks: set[str] = set()
    volumes: set[str] = set()
    for name in project.order:
        if name not in needed or project.services[name].get("provider"):
            continue
        config = _on_a_network(project, name)
        if given.get(name):
            environment = {**(config.get("environment") or {}), **given[name]}
            project.services[name] = config = {**config, "environment": environment}
        count = (scale or {}).get(name, project.scale(name))
        image = project.image(name)
        own_name, separator = config.get("container_name"), project.separator
        contents = _contents(project, config)
        wanted.append(Wanted(name, config, hash_of(config), image, count, own_name, separator, contents))
        networks |= set(config.get("networks") or {})
        volumes |= {
            m["source"] for m in config.get("volumes") or () if m["type"] == "volume" and m.get("source")
        }
    return Target(
        project.name,
        tuple(wanted),
        {
            key: WantedNetwork(key, network["name"], hash_of(network), bool(network.get("external")))
            for key, network in project.networks.items()
            if key in networks or project.all_resources
        },
        {
            key: WantedVolume(key, volume["name"], hash_of(volume), bool(volume.get("external")))
            for key, volume in project.volumes.items()
            if key in volumes or project.all_resources
        },
    )


def _contents(project: Project, config: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the configs and secrets of a service that are no files of the user."""
    import hashlib

    found: dict[str, str] = {}
    definitions: dict[str, Mapping[str, Any]] = {"configs": project.configs, "secrets": project.secrets}
    for kind, section in definitions.items():
        for use in config.get(kind) or ():
            content = section[use["source"]].get("content")
            if content is not None:
                data = str(content).encode("utf-8", "surrogateescape")
                found[f"{kind}.{use['source']}"] = hashlib.sha256(data).hexdigest()
    return found


def _given(project: Project) -> Mapping[str, Mapping[str, str]]:
    """The variables that services have from providers and models."""
    if not any(service.get("provider") or service.get("models") for service in project.services.values()):
        return {}
    from compose.engine import outside
    from compose.state.paths import Paths

    return outside.variables(Paths.from_environment(), project)


def alone(target: Target, services: Iterable[Wanted]) -> Target:
    """`target` with these services only, and what they themselves use of networks and volumes."""
    kept = tuple(services)
    networks = {key for service in kept for key in service.config.get("networks") or {}}
    volumes = {
        mount.get("source")
        for service in kept
        for mount in service.config.get("volumes") or ()
        if mount["type"] == "volume"
    }
    return target._replace(
        services=kept,
        networks={key: network for key, network in target.networks.items() if key in networks},
        volumes={key: volume for key, volume in target.volumes.items() if key in volumes},
    )


def narrowed(target: Target, services: Collection[str]) -> Target:
    """`target` with some of its services and all that these depend on; all of it when none is named."""
    if not services:
        return target
    needed = set(services)
    for service in reversed(target.services):  # in dependency order, so that one pass is enough
        if service.name in needed:
            needed |= service.dependencies.keys()
    return target._replace(services=tuple(s for s in target.services if s.name in needed))


def _on_a_network(project: Project, name: str) -> ServiceConfig:
    """A service's configuration, whose ``network_mode`` is none of a network: that is written as one.

    ``bridge`` means the project's default network: Docker's own bridge is one network for all projects,
    without names; here no project sees another one's containers unless it asks for that. Any other word is
    the real name of a network that there is.
    """
    config = project.services[name]
    mode = config.get("network_mode") or "none"
    if mode in ("none", "host") or ":" in mode:
        return config
    if mode in ("bridge", "default"):
        key = "default"
        project.networks.setdefault(key, {"name": f"{project.name}_default", "ipam": {}})
    else:
        key = next((key for key, one in project.networks.items() if one.get("name") == mode), mode)
        project.networks.setdefault(key, {"name": mode, "ipam": {}, "external": True})
    config = {**config, "networks": {key: None}}
    del config["network_mode"]
    project.services[name] = config
    return config


def _check_scale(project: Project, scale: Mapping[str, int]) -> None:
    from compose.errors import UsageError

    for name, count in scale.items():
        if name not in project.services:
            raise UsageError(f"--scale: no such service: {name}", hint="see 'pycompose config --services'")
        if count > _MOST_CONTAINERS:
            raise UsageError(f"--scale {name}={count}: at most {_MOST_CONTAINERS} containers of a service")
        if count > 1 and project.services[name].get("container_name"):
            raise UsageError(
                f"--scale {name}={count}: its container_name can only be had once",
                hint=f"remove container_name from service {name}",
            )
