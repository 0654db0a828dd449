"""``pycompose up``."""

from __future__ import annotations

import sys
import time

from compose.cli.grace import add_timeout
from compose.cli.switch import add_switch
from compose.errors import UsageError
from compose.ui.times import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from compose.cli.attached import Attached
    from compose.engine.embedded.context import Context, Detail
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.engine.protocol import Engine
    from compose.model import Project
    from compose.plan.observed import Observed
    from compose.plan.plan import Plan
    from compose.plan.target import Target
    from compose.state.paths import Paths
    from compose.ui.progress import Plain, Terminal


PULL = ("policy", "always", "missing", "never", "build")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-d", "--detach", action="store_true", help="run in the background")
    add_creating(parser)
    add(
        "-V",
        "--renew-anon-volumes",
        action="store_true",
        help="give recreated containers new anonymous volumes",
    )
    add(
        "--always-recreate-deps",
        action="store_true",
        help="recreate what the services depend on, even if it has not changed",
    )
    add("--no-deps", action="store_true", help="do not start what the services depend on")
    add("--no-start", action="store_true", help="create, and start nothing")
    add("--quiet-build", action="store_true", help="do not show the steps of builds")
    add("--wait", action="store_true", help="wait until services run or are healthy; implies -d")
    add("--wait-timeout", type=seconds, metavar="SECONDS", help="how long to wait for that")
    add_timeout(parser)
    add_switch(parser, "watch", "-w", default=False, help="no effect yet: files are not watched")
    add_switch(parser, "menu", default=False, help="no effect yet: there is no menu of shortcuts")
    add("--abort-on-container-exit", action="store_true", help="stop all as soon as one container stops")
    add("--abort-on-container-failure", action="store_true", help="stop all as soon as one container fails")
    add("--exit-code-from", metavar="SERVICE", help="exit as this service does; implies the former but one")
    add("--attach", action="append", default=[], metavar="SERVICE", help="show only logs of this service")
    add("--no-attach", action="append", default=[], metavar="SERVICE", help="show no logs of this service")
    add("--attach-dependencies", action="store_true", help="show logs of what the services depend on, too")
    add("--no-log-prefix", action="store_true", help="do not print which container a line is from")
    add("--no-color", action="store_true", help="no colours in the logs")
    add("--timestamps", action="store_true", help="print when a line was written")


def add_creating(parser: argparse.ArgumentParser) -> None:
    """The options of ``up`` and ``create``."""
    add = parser.add_argument
    add("--build", action="store_true", help="build images before containers are created")
    add("--no-build", action="store_true", help="do not build an image, even if it is missing")
    add(
        "--pull", choices=PULL, default="policy", help="whether to get images anew, whatever pull_policy says"
    )
    add("--quiet-pull", action="store_true", help="do not show how images are got")
    add("--force-recreate", action="store_true", help="recreate containers that have not changed")
    add("--no-recreate", action="store_true", help="leave containers that are there as they are")
    add(
        "--remove-orphans", action="store_true", help="remove containers of services that are not in the file"
    )
    add("--scale", action="append", default=[], metavar="SERVICE=N", help="how many containers a service has")
    add("-y", "--yes", action="store_true", help="ask nothing (nothing is asked)")


def run_as_up(arguments: argparse.Namespace, **changes: Any) -> int:
    """``up`` with the options that `arguments` has, and some others; for commands that are a part of it."""
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(argparse.Namespace(**{**vars(parser.parse_args([])), **vars(arguments), **changes}))


_TOGETHER = (
    ("force_recreate", "no_recreate"),
    ("always_recreate_deps", "no_recreate"),
    ("renew_anon_volumes", "no_recreate"),
    ("build", "no_build"),
    ("abort_on_container_exit", "abort_on_container_failure"),
    ("attach", "attach_dependencies"),
    *(
        (alone, attached)
        for alone in ("detach", "wait", "no_start")
        for attached in (
            "abort_on_container_exit",
            "abort_on_container_failure",
            "exit_code_from",
            "attach",
            "attach_dependencies",
        )
    ),
)
"""Options that exclude each other."""


def _check(arguments: argparse.Namespace) -> None:
    for first, second in _TOGETHER:
        if getattr(arguments, first) and getattr(arguments, second):
            names = [f"--{name.replace('_', '-')}" for name in (first, second)]
            raise UsageError(f"{names[0]} and {names[1]} exclude each other")


def run(arguments: argparse.Namespace) -> int:
    """Plan, carry out the plan, and, without ``-d``, follow the logs until everything has ended."""
    from compose.network.setup.client import fork_setup
    from compose.state.paths import Paths

    _check(arguments)
    _mention_what_is_missing(arguments)
    begun = time.time_ns()
    paths = Paths.from_environment()
    # Forked before anything heavy is loaded: its imports overlap with ours.
    network = fork_setup(paths)
    try:
        from compose.cli import project as projects
        from compose.cli import targets
        from compose.engine.embedded.context import Context
        from compose.state.lock import making_lock
        from compose.ui.progress import reporter

        project = projects.load(arguments)
        progress = reporter("up", arguments.progress)
        bring_up_outside(arguments, paths, project, progress)
        target = targets.target(project, arguments.services, scales(arguments.scale))
        attached = _attached(arguments, project, target)
        if arguments.no_deps and arguments.services:
            target = targets.alone(target, (s for s in target.services if s.name in arguments.services))
        with making_lock(paths, project.name, "up", projects.waiting):
            context = Context(
                paths,
                project.name,
                project=project,
                target=target,
                network=network,
                detail=progress.detail,
                warn=projects.warn,
            )
            try:
                code = _up(arguments, context, progress)
                left = [] if arguments.dry_run else context.index.abandoned()
            finally:
                progress.close()
                context.close()
    finally:
        network.close()
    if left:  # the last guest of a network has gone by --scale or --remove-orphans
        from compose.cli import abandoned

        code = abandoned.clear(paths, arguments.progress) or code
    if code or arguments.dry_run or arguments.detach or arguments.wait or arguments.no_start:
        return code
    from compose.cli.attached import follow_until_stopped

    return follow_until_stopped(arguments, paths, project, attached, since=begun)


def _mention_what_is_missing(arguments: argparse.Namespace) -> None:
    from compose.ui.errors import warn

    if arguments.watch:
        warn("--watch has no effect yet: files are not watched")
    if arguments.menu:
        warn("--menu has no effect yet: there is no menu of shortcuts")


def _attached(arguments: argparse.Namespace, project: Project, target: Target) -> Attached:
    """Whose end is waited for, and whose logs are shown; checked before anything happens."""
    from compose.cli.attached import Attached

    there = [service.name for service in target.services]
    named = [name for name in there if not arguments.services or name in arguments.services]
    awaited = [arguments.exit_code_from] if arguments.exit_code_from else []
    for name in (*arguments.attach, *awaited):
        if name not in there:
            raise UsageError(f"service {name} is not started", hint="see 'pycompose config --services'")
    for name in arguments.no_attach:
        if name not in project.services:
            raise UsageError(f"no such service: {name}", hint="see 'pycompose config --services'")
    shown = arguments.attach or [
        name
        for name in (there if arguments.attach_dependencies else named)
        if project.services[name].get("attach", True)
    ]
    return Attached(tuple(named), frozenset(shown) - set(arguments.no_attach))


def scales(entries: Sequence[str]) -> dict[str, int]:
    """``web=2`` entries as a mapping; raises `UsageError`."""
    found = {}
    for entry in entries:
        service, _, count = entry.partition("=")
        if not service or not count.isdecimal():
            raise UsageError(f"--scale {entry}: expected SERVICE=N")
        found[service] = int(count)
    return found


def bring_up_outside(
    arguments: argparse.Namespace, paths: Paths, project: Project, progress: Plain | Terminal
) -> None:
    """What providers and the model runner provide is there before anything else is made."""
    if not any(service.get("provider") or service.get("models") for service in project.services.values()):
        return
    from compose.engine import outside

    names = [name for name in arguments.services if name in project.services]
    if arguments.dry_run:
        needed = project.needed(names) if names else set(project.services)
        for provider in outside.providers_of(project, needed):
            sys.stdout.write(f"provider {provider.kind} brings up {provider.service}\n")
        return
    outside.bring_up(paths, project, names, lambda service, text: progress.detail(service, text, None))


def _up(arguments: argparse.Namespace, context: Context, progress: Plain | Terminal) -> int:
    from compose.cli.project import waiting, wants_orphans_removed
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.plan.observed import Observed
    from compose.plan.reconcile import plan_images
    from compose.state.lock import project_lock

    assert context.target is not None
    wants_orphans_removed(arguments)  # which refuses options that exclude each other
    engine = EmbeddedEngine(context)
    context.preparation.again = arguments.force_recreate
    found = Observed(images=engine.images())
    images = plan_images(context.target, found, build=arguments.build, pull=arguments.pull)
    if arguments.no_build:
        _refuse_builds(images)
    if images and not arguments.dry_run:
        context.detail = hiding(arguments, images, progress)
        code = _execute(images, engine, progress, arguments.parallel, None)
        if code:
            return code
    with project_lock(context.paths, context.name, "up", waiting) as lock:
        context.hold(lock)
        return _change(arguments, context, engine, progress, images)


def _change(
    arguments: argparse.Namespace,
    context: Context,
    engine: EmbeddedEngine,
    progress: Plain | Terminal,
    images: Plan,
) -> int:
    """What follows once the `images` are there."""
    from compose.cli.project import mention_changed_volumes, mention_orphans, wants_orphans_removed
    from compose.plan.reconcile import UpOptions, plan_up

    assert context.target is not None and context.project is not None
    remove_orphans = wants_orphans_removed(arguments)
    observed = engine.observe()
    options = UpOptions(
        force_recreate=arguments.force_recreate,
        no_recreate=arguments.no_recreate,
        no_start=arguments.no_start,
        remove_orphans=remove_orphans,
        known=frozenset({*context.project.services, *context.project.disabled}),
        named=frozenset(arguments.services),
        recreate_dependencies=arguments.always_recreate_deps,
        wait=arguments.wait,
        fresh_volumes=arguments.renew_anon_volumes,
        timeout=arguments.timeout,
    )
    plan = plan_up(context.target, observed, options)
    if arguments.dry_run:
        _print_plans(images, plan)
        return 0
    if not remove_orphans:
        mention_orphans(context.index, context.project)
    mention_changed_volumes(context.index, context.project)
    engine.prepare(plan)
    _mention_unchanged(context, observed, plan, progress)
    return _execute(
        plan, engine, progress, arguments.parallel, arguments.wait_timeout if arguments.wait else None
    )


def hiding(arguments: argparse.Namespace, images: Plan, progress: Plain | Terminal) -> Detail:
    """The reporter of steps, without those of builds or fetches that nobody wants to see."""
    from compose.plan.actions import BuildImage, FetchImage

    kinds: tuple[type, ...] = (BuildImage,) if arguments.quiet_build else ()
    kinds += (FetchImage,) if arguments.quiet_pull else ()
    hidden = {one.action.target for one in images.operations if isinstance(one.action, kinds)}

    def detail(what: str, status: str, fraction: float | None) -> None:
        if what not in hidden:
            progress.detail(what, status, fraction)

    return detail


def _execute(
    plan: Plan,
    engine: Engine,
    progress: Plain | Terminal,
    parallel: int | None,
    timeout: float | None,
) -> int:
    # It loads anyio, while other processes work on what was begun before.
    from compose.cli.running import carry_out

    return carry_out(plan, engine, progress, parallel=parallel, timeout=timeout)


def _refuse_builds(plan: Plan) -> None:
    from compose.plan.actions import BuildImage

    for operation in plan.operations:
        if isinstance(operation.action, BuildImage):
            raise UsageError(f"image {operation.action.target} is not built, and --no-build was given")


def _mention_unchanged(context: Context, observed: Observed, plan: Plan, progress: Plain | Terminal) -> None:
    """Say what runs already and is left alone."""
    assert context.target is not None
    services = {service.name for service in context.target.services}
    changed = {operation.action.target for operation in plan.operations}
    for container in observed.containers:
        if container.running and container.service in services and not container.oneoff:
            if container.name not in changed:
                progress.unchanged("Container", container.name, "Running")


def _print_plans(images: Plan, plan: Plan) -> None:
    texts = [str(part) for part in (images, plan) if part]
    sys.stdout.write("\n".join(texts) + "\n" if texts else "nothing to do\n")
