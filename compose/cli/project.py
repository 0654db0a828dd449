"""From the global options to a project, or to its name alone."""

from __future__ import annotations

import contextlib
import os

from compose.ui.errors import warn as print_warning
from compose.ui.streams import is_set

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from compose.model import Project
    from compose.model.types import ServiceConfig
    from compose.plan.target import Target, Wanted
    from compose.state.index import Index

_said: set[str] = set()
_MOST_CONTAINERS = 1000
"""Of one service; more have no room in a default subnet, and no machine to run on."""


def load(arguments: argparse.Namespace, *left_out: str) -> Project:
    """The project that the global options ask for, without the passes `left_out`; its warnings are printed,
    each once."""
    from compose import model

    project = model.load(
        arguments.file or None,
        project_directory=arguments.project_directory,
        project_name=arguments.project_name,
        env_files=arguments.env_file,
        profiles=arguments.profile,
        services=getattr(arguments, "services", None) or (),
        cache=cache(),
        switches=(*switches(arguments), *left_out),
    )
    for warning in project.warnings:
        warn(warning)
    if any(map(_names_a_container, project.services.values())):
        from compose.model import own

        own.name_services(project)
    return project


def _names_a_container(service: Mapping[str, Any]) -> bool:
    values = (service.get("network_mode"), service.get("pid"), service.get("ipc"))
    return any(str(one).startswith("container:") for one in (*values, *(service.get("volumes_from") or ())))


def switches(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Those of the global options that say what stays in a project."""
    from compose.cli.settings import is_compatible
    from compose.model.request import ALL_RESOURCES, COMPATIBILITY

    chosen = ((ALL_RESOURCES, arguments.all_resources), (COMPATIBILITY, is_compatible(arguments)))
    return tuple(name for name, is_chosen in chosen if is_chosen)


def cache() -> str | None:
    """Where finished models are kept; None where nothing may be kept, which only costs time."""
    from compose.errors import StateError
    from compose.state.paths import Paths

    try:
        return Paths.from_environment().cache
    except (OSError, StateError):
        return None


def warn(text: str) -> None:
    """Print one warning, unless it was printed before."""
    if text not in _said:
        _said.add(text)
        print_warning(text)


def mention_orphans(index: Index, project: Project) -> None:
    """Warn of containers of services that the file does not know, unless COMPOSE_IGNORE_ORPHANS is set."""
    if is_set("COMPOSE_IGNORE_ORPHANS"):
        return
    known = {*project.services, *project.disabled}
    orphans = [row.name for row in index.containers(project.name) if row.service not in known]
    if orphans:
        warn(f"not in the file any more: {', '.join(orphans)}; --remove-orphans removes them")


def mention_changed_volumes(index: Index, project: Project) -> None:
    """Warn of volumes that are there and were made from another definition: they stay as they are."""
    from compose.model import hash_of

    for row in index.volumes(project.name):
        definition = project.volumes.get(row.key)
        if definition is None or row.container or definition["name"] != row.name:
            continue
        if not definition.get("external") and hash_of(definition) != row.config_hash:
            warn(
                f"volume {row.name} stays as it was made; 'down -v' removes it, and its content, to change it"
            )


def wants_orphans_removed(arguments: argparse.Namespace) -> bool:
    """``--remove-orphans``, or COMPOSE_REMOVE_ORPHANS."""
    if arguments.remove_orphans and is_set("COMPOSE_IGNORE_ORPHANS"):
        from compose.errors import UsageError

        raise UsageError("COMPOSE_IGNORE_ORPHANS and --remove-orphans exclude each other")
    return bool(arguments.remove_orphans) or is_set("COMPOSE_REMOVE_ORPHANS")


def load_if_there(arguments: argparse.Namespace) -> Project | None:
    """The project, or None when a name was given and no file of it: what runs can be named without one.

    For commands about containers that are there: a file of variables that is gone keeps nobody from them, and
    neither does a file that happens to lie where somebody names another project.
    """
    from compose.errors import ModelError

    named = arguments.project_name or os.environ.get("COMPOSE_PROJECT_NAME")
    named_files = arguments.file or os.environ.get("COMPOSE_FILE")
    if named and not named_files:
        from compose.model import default_file

        file = default_file(arguments.project_directory or os.getcwd())
        if file is None or (arguments.project_name and _is_of_other_files(named, file)):
            return None
    try:
        return load(arguments)
    except ModelError:
        return load(arguments, "no-env-resolution")  # whatever else is wrong it says again


def _is_of_other_files(name: str, file: str) -> bool:
    """Whether the project is there, and made without this file."""
    from compose.state.index import Index
    from compose.state.paths import Paths

    with contextlib.closing(Index(Paths.from_environment())) as index:
        row = index.project(name)
    return row is not None and file not in row.files


def project_name(arguments: argparse.Namespace, project: Project | None) -> str:
    """The name of the project, checked."""
    if project is not None:
        return project.name
    from compose.model import check_name

    name = arguments.project_name or os.environ["COMPOSE_PROJECT_NAME"]
    check_name(name)
    return str(name)


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
