"""``pycompose down``."""

from __future__ import annotations

import contextlib
import sys

from compose.cli.grace import add_timeout
from compose.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping
    from typing import Any

    from compose.engine.embedded.context import Context
    from compose.model import Project
    from compose.network.setup.client import SetupClient
    from compose.plan.observed import Observed, ObservedContainer
    from compose.plan.plan import Plan
    from compose.state.paths import Paths
    from compose.ui.progress import Plain, Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-v", "--volumes", action="store_true", help="also remove named and anonymous volumes")
    add(
        "--remove-orphans",
        action="store_true",
        help="also remove containers of services that are not in the file",
    )
    add(
        "--rmi",
        choices=("local", "all"),
        help="also remove images: all, or those without a name of their own",
    )
    add_timeout(parser)


def run(arguments: argparse.Namespace) -> int:
    """Take away what the project has; what cannot be removed is reported and the rest goes on."""
    from compose.cli import abandoned
    from compose.network.setup.client import fork_setup
    from compose.state.paths import Paths

    paths = Paths.from_environment()
    network = fork_setup(paths)
    try:
        code = _down(arguments, paths, network)
    finally:
        network.close()
    return code if arguments.dry_run else abandoned.clear(paths, arguments.progress) or code


def take_down(arguments: argparse.Namespace) -> int:
    """``down`` of everything, for another command with its global options; networks and containers."""
    import argparse

    values = {"services": [], "volumes": False, "remove_orphans": True, "rmi": None, "timeout": None}
    return run(argparse.Namespace(**{**vars(arguments), **values}))


def _down(arguments: argparse.Namespace, paths: Paths, network: SetupClient) -> int:
    from compose.cli import abandoned
    from compose.cli import project as projects
    from compose.cli.running import carry_out
    from compose.engine.embedded.context import Context
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.plan.teardown import DownOptions, plan_down
    from compose.state.lock import project_lock
    from compose.ui.progress import reporter

    project = projects.load_if_there(arguments)
    name = projects.project_name(arguments, project)
    _check_services(arguments, paths, name, project)
    progress = reporter("down", arguments.progress)
    with project_lock(paths, name, "down", projects.waiting) as lock:
        context = Context(paths, name, project=project, network=network, warn=projects.warn)
        try:
            remove_orphans = projects.wants_orphans_removed(arguments)
            if project is not None and not remove_orphans:
                projects.mention_orphans(context.index, project)
            engine = EmbeddedEngine(context)
            options = DownOptions(
                services=arguments.services,
                volumes=arguments.volumes,
                images=_images(arguments, context) if arguments.rmi else (),
                remove_orphans=remove_orphans,
                timeout=arguments.timeout,
            )
            observed = engine.observe()
            plan = plan_down(
                name,
                observed,
                options,
                known={*project.services, *project.disabled} if project else None,
                dependencies={s: project.dependencies(s) for s in project.services} if project else None,
                external_volumes=_external(project.volumes) if project else (),
                external_networks=_external(project.networks) if project else (),
            )
            if arguments.dry_run:
                plans: list[object] = [plan, *(() if arguments.services else abandoned.plans(context))]
                plans += _outside(arguments, paths, project, name)
                sys.stdout.write("\n".join(str(part) for part in plans if part) or "nothing to do")
                sys.stdout.write("\n")
                return 0
            _mention_staying(observed, plan)
            if arguments.volumes and not arguments.services:
                _mention_volumes(observed, plan, _external(project.volumes) if project else set())
            engine.prepare(plan)
            code = carry_out(plan, engine, progress, parallel=arguments.parallel, keep_going=True)
            code = _take_down_outside(arguments, paths, project, name, progress) or code
            if context.is_gone():
                lock.forget_all()
            return code
        finally:
            context.close()


def _external(found: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {str(one["name"]) for one in found.values() if one.get("external")}


def _outside(arguments: argparse.Namespace, paths: Paths, project: Project | None, name: str) -> list[object]:
    """What is taken down by providers, in words."""
    if not _has_outside(paths, project, name):
        return []
    from compose.engine import outside

    return [
        f"provider {one.kind} takes down {one.service}"
        for one in outside.known_providers(paths, name, project)
        if not arguments.services or one.service in arguments.services
    ]


def _take_down_outside(
    arguments: argparse.Namespace,
    paths: Paths,
    project: Project | None,
    name: str,
    progress: Plain | Terminal,
) -> int:
    """Have providers release what they have made, when nothing uses it any more."""
    if not _has_outside(paths, project, name):
        return 0
    from compose.engine import outside
    from compose.ui.errors import complain

    tell = lambda service, text: progress.detail(service, text, None)  # noqa: E731
    failures = outside.take_down(paths, name, project, arguments.services, tell)
    for error in failures:
        complain(error)
    return 1 if failures else 0


def _has_outside(paths: Paths, project: Project | None, name: str) -> bool:
    import os

    services = project.services.values() if project is not None else ()
    return os.path.exists(f"{paths.outside}/{name}.json") or any(one.get("provider") for one in services)


def _images(arguments: argparse.Namespace, context: Context) -> list[str]:
    """The names of the images of services that are in the store; with ``--rmi local`` of those that are built
    and have no name of their own."""
    from compose.cli.targets import target
    from compose.engine.embedded.recorded import recorded_target

    project = context.project
    found = target(project) if project else recorded_target(context.paths, context.index, context.name)
    chosen = [one for one in found.services if not arguments.services or one.name in arguments.services]
    names = {
        name
        for one in chosen
        for name in one.images
        if arguments.rmi == "all" or (name == one.image and not one.config.get("image"))
    }
    return sorted(name for name in names if context.images.find(name) is not None)


def _mention_staying(observed: Observed, plan: Plan) -> None:
    """Say which containers of ``run`` go on, and keep networks of the project."""
    from compose.cli.project import warn

    leaving = {operation.action.target for operation in plan.operations}
    staying = [one.name for one in observed.containers if one.oneoff and one.name not in leaving]
    if staying:
        warn(f"started by run, and still running: {', '.join(staying)}; --remove-orphans removes them")


def _mention_volumes(observed: Observed, plan: Plan, external: set[str]) -> None:
    """Say which volumes of the project stay, and for whom."""
    from compose.cli.project import warn

    leaving = {operation.action.target for operation in plan.operations}
    for volume in observed.volumes:
        if volume.name in leaving or volume.name in external:
            continue
        own = [c.name for c in observed.containers if c.name not in leaving and _may_use(c, volume.name)]
        warn(f"volume {volume.name} stays: in use by {', '.join([*own, *volume.users])}")


def _may_use(container: ObservedContainer, volume: str) -> bool:
    return container.volumes is None or volume in container.volumes


def _check_services(arguments: argparse.Namespace, paths: Paths, name: str, project: Project | None) -> None:
    from compose.state.index import Index

    if not arguments.services:
        return
    with contextlib.closing(Index(paths)) as index:
        known = {row.service for row in index.containers(name)}
    if project is not None:
        known |= {*project.services, *project.disabled}
    for service in arguments.services:
        if service not in known:
            raise UsageError(f"no such service: {service}", hint="see 'pycompose config --services'")
