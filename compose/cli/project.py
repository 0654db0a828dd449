"""From the global options to a project, or to its name alone."""

from __future__ import annotations

import contextlib
import os

from compose.ui.errors import warn as print_warning
from compose.ui.streams import is_set

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any

    from compose.model import Project
    from compose.state.index import Index

_said: set[str] = set()


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


def waiting(holder: str) -> None:
    """Say for whom this command waits."""
    warn(f"waiting for {holder}")


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
