"""``pycompose down``."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("-v", "--volumes", action="store_true", help="also remove named and anonymous volumes")
    add(
        "--remove-orphans",
        action="store_true",
        help="also remove containers of services that are not in the file",
    )
    add("-t", "--timeout", type=float, metavar="SECONDS", help="how long containers have to stop")


def run(arguments: argparse.Namespace) -> int:
    """Take away what the project has; what cannot be removed is reported and the rest goes on."""
    from compose.network.setup import fork_setup
    from compose.state.paths import Paths

    paths = Paths.from_environment()
    network = fork_setup(paths)
    try:
        from compose.cli import project as projects
        from compose.cli.running import carry_out
        from compose.engine.embedded.context import Context
        from compose.engine.embedded.engine import EmbeddedEngine
        from compose.plan.teardown import DownOptions, plan_down
        from compose.state.lock import project_lock
        from compose.ui.progress import reporter

        project = projects.load_if_there(arguments)
        name = projects.project_name(arguments, project)
        progress = reporter("down", arguments.progress)
        with project_lock(paths, name, "down", lambda holder: projects.warn(f"waiting for {holder}")) as lock:
            context = Context(paths, name, project=project, network=network, warn=projects.warn)
            try:
                if project is not None and not arguments.remove_orphans:
                    projects.mention_orphans(context.index, project)
                engine = EmbeddedEngine(context)
                options = DownOptions(
                    services=arguments.services,
                    volumes=arguments.volumes,
                    remove_orphans=arguments.remove_orphans,
                    timeout=arguments.timeout,
                )
                plan = plan_down(
                    name,
                    engine.observe(),
                    options,
                    known={*project.services, *project.disabled} if project else None,
                    dependencies={s: project.dependencies(s) for s in project.services} if project else None,
                )
                if arguments.dry_run:
                    sys.stdout.write(f"{plan}\n" if plan else "nothing to do\n")
                    return 0
                engine.prepare(plan)
                code = carry_out(plan, engine, progress, parallel=arguments.parallel, keep_going=True)
                if not context.index.containers(name) and not context.index.networks(name):
                    lock.forget()
                return code
            finally:
                context.close()
    finally:
        network.close()
