"""``pycompose up``."""

from __future__ import annotations

import sys
import time

from compose.errors import UsageError
from compose.ui.times import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from compose.engine.embedded.context import Context
    from compose.plan.execute import Performer
    from compose.plan.plan import Plan
    from compose.ui.progress import Plain, Terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-d", "--detach", action="store_true", help="run in the background")
    add("--build", action="store_true", help="build images before starting containers")
    add("--no-build", action="store_true", help="do not build an image, even if it is missing")
    add("--force-recreate", action="store_true", help="recreate containers that have not changed")
    add(
        "-V",
        "--renew-anon-volumes",
        action="store_true",
        help="give recreated containers new anonymous volumes",
    )
    add("--no-recreate", action="store_true", help="leave containers that are there as they are")
    add("--no-deps", action="store_true", help="do not start what the services depend on")
    add("--no-start", action="store_true", help="create, and start nothing")
    add(
        "--remove-orphans", action="store_true", help="remove containers of services that are not in the file"
    )
    add("--scale", action="append", default=[], metavar="SERVICE=N", help="how many containers a service has")
    add("--wait", action="store_true", help="wait until services run or are healthy; implies -d")
    add("--wait-timeout", type=seconds, metavar="SECONDS", help="how long to wait for that")
    add("-t", "--timeout", type=seconds, metavar="SECONDS", help="how long containers have to stop")
    add("--no-log-prefix", action="store_true", help="do not print which container a line is from")
    add("--no-color", action="store_true", help="no colours in the logs")
    add("--timestamps", action="store_true", help="print when a line was written")


def run(arguments: argparse.Namespace) -> int:
    """Plan, carry out the plan, and, without ``-d``, follow the logs until everything has ended."""
    from compose.network.setup import fork_setup
    from compose.state.paths import Paths

    if arguments.force_recreate and arguments.no_recreate:
        raise UsageError("--force-recreate and --no-recreate exclude each other")
    if arguments.build and arguments.no_build:
        raise UsageError("--build and --no-build exclude each other")
    begun = time.time_ns()
    paths = Paths.from_environment()
    # Forked before anything heavy is loaded: its imports overlap with ours.
    network = fork_setup(paths)
    try:
        from compose.cli import project as projects
        from compose.engine.embedded.context import Context
        from compose.state.lock import project_lock
        from compose.ui.progress import reporter

        project = projects.load(arguments)
        services = arguments.services
        target = projects.target(project, services, _scales(arguments.scale))
        if arguments.no_deps and services:
            target = target._replace(services=tuple(s for s in target.services if s.name in services))
        progress = reporter("up", arguments.progress)
        with project_lock(paths, project.name, "up", lambda holder: projects.warn(f"waiting for {holder}")):
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

    names = [service.name for service in target.services]
    return follow_until_stopped(arguments, paths, project, names, since=begun)


def _scales(entries: Sequence[str]) -> dict[str, int]:
    found = {}
    for entry in entries:
        service, _, count = entry.partition("=")
        if not service or not count.isdecimal():
            raise UsageError(f"--scale {entry}: expected SERVICE=N")
        found[service] = int(count)
    return found


def _up(arguments: argparse.Namespace, context: Context, progress: Plain | Terminal) -> int:
    from compose.cli.project import mention_orphans
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.plan.reconcile import UpOptions, plan_images, plan_up

    assert context.target is not None
    engine = EmbeddedEngine(context)
    observed = engine.observe()
    images = plan_images(context.target, observed, build=arguments.build)
    if arguments.no_build:
        _refuse_builds(images)
    if images:
        if not arguments.dry_run:
            code = _execute(images, engine, progress, arguments.parallel, None)
            if code:
                return code
            observed = engine.observe()
    options = UpOptions(
        force_recreate=arguments.force_recreate,
        no_recreate=arguments.no_recreate,
        no_start=arguments.no_start,
        remove_orphans=arguments.remove_orphans and not arguments.services,
        wait=arguments.wait,
        fresh_volumes=arguments.renew_anon_volumes,
        timeout=arguments.timeout,
    )
    plan = plan_up(context.target, observed, options)
    if arguments.dry_run:
        _print_plans(images, plan)
        return 0
    if not arguments.remove_orphans:
        assert context.project is not None
        mention_orphans(context.index, context.project)
    engine.prepare(plan)
    return _execute(
        plan, engine, progress, arguments.parallel, arguments.wait_timeout if arguments.wait else None
    )


def _execute(
    plan: Plan,
    engine: Performer,
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


def _print_plans(images: Plan, plan: Plan) -> None:
    texts = [str(part) for part in (images, plan) if part]
    sys.stdout.write("\n".join(texts) + "\n" if texts else "nothing to do\n")
