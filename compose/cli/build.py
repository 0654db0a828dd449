"""``pycompose build``."""

from __future__ import annotations

import os
import sys

from compose.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("--build-arg", action="append", default=[], metavar="KEY=VALUE", help="set an ARG for every service")
    add("--no-cache", action="store_true", help="do not use layers of earlier builds")
    add("--pull", action="store_true", help="get newer base images")
    add("-q", "--quiet", action="store_true", help="print nothing but errors")


def run(arguments: argparse.Namespace) -> int:
    """Build the images of the services that have a build section."""
    from compose.cli import project as projects
    from compose.cli import targets
    from compose.cli.running import carry_out
    from compose.engine.embedded.context import Context
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.plan.actions import BuildImage
    from compose.plan.plan import Plan
    from compose.state.paths import Paths
    from compose.ui.progress import reporter

    project = projects.load(arguments)
    for name in arguments.services:
        if name not in project.services:
            raise UsageError(f"no such service: {name}", hint="see 'pycompose config --services'")
    chosen = arguments.services or list(project.services)
    target = targets.target(project)
    given = dict(_argument(entry) for entry in arguments.build_arg)
    plan = Plan()
    seen: set[str] = set()
    for wanted in target.services:
        section = project.services[wanted.name].get("build")
        if wanted.name not in chosen or section is None or wanted.image in seen:
            continue
        seen.add(wanted.image)
        section["args"] = {**(section.get("args") or {}), **given}
        if arguments.pull:
            section["pull"] = True
        plan.add(BuildImage(wanted.image, wanted.name), cause="build")
    if arguments.dry_run:
        sys.stdout.write(f"{plan}\n" if plan else "nothing to do\n")
        return 0
    progress = reporter("build", "quiet" if arguments.quiet else arguments.progress)
    context = Context(
        Paths.from_environment(),
        project.name,
        project=project,
        target=target,
        detail=progress.detail,
        no_cache=arguments.no_cache,
    )
    try:
        return carry_out(plan, EmbeddedEngine(context), progress, parallel=arguments.parallel)
    finally:
        context.close()


def _argument(entry: str) -> tuple[str, str]:
    key, separator, value = entry.partition("=")
    return key, value if separator else os.environ.get(key, "")
