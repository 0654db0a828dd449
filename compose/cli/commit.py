"""``pycompose commit``."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from compose.cli.switch import add_switch
from compose.ui.streams import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from compose.cli.scope import Container, Scope


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-a", "--author", default="", metavar="AUTHOR", help="who made it")
    add("-c", "--change", action="append", default=[], metavar="INSTRUCTION",
        help="change the settings, as an instruction of a Dockerfile does")  # fmt: skip
    add("--index", type=int, default=0, help="which container of the service (default: the first)")
    add("-m", "--message", default="", metavar="TEXT", help="what was done")
    add_switch(parser, "pause", "-p", default=True, help="pause the container meanwhile (default)")
    add("service", metavar="SERVICE")
    add("name", nargs="?", metavar="REPOSITORY[:TAG]", help="the name of the image")


def run(arguments: argparse.Namespace) -> int:
    """Make an image of a service's container, with what it has changed."""
    from compose.cli.scope import Scope
    from compose.engine.embedded.whole import settings, upper_of
    from compose.images import reference
    from compose.images.commit import Commit, commit
    from compose.images.store import ImageStore
    from compose.state import events

    names = (str(reference.parse(arguments.name)),) if arguments.name else ()
    scope = Scope(arguments)
    container = scope.running(arguments.service, arguments.index)
    spec = container.spec
    if arguments.dry_run:
        sys.stdout.write(f"commit {container.row.name} as {arguments.name or 'an image without a name'}\n")
        return 0
    store = ImageStore(scope.paths)
    image = store.find(spec["image"])
    wanted = Commit(
        spec["image"],
        upper_of(spec),
        settings(spec, image.settings if image is not None else {}),
        names,
        arguments.author,
        arguments.message,
        " ".join(spec["oci"]["process"]["args"]),
        tuple(arguments.change),
    )
    with _paused(scope, container, wanted=arguments.pause):
        made = commit(store, wanted)
    events.record(scope.paths, spec, "commit", comment=arguments.message, imageID=made.id)
    say(f" {container.row.name} Commit {container.row.name} Committed as {made.id}\n")
    return 0


@contextlib.contextmanager
def _paused(scope: Scope, container: Container, *, wanted: bool) -> Iterator[None]:
    """Nothing in the container changes anything meanwhile."""
    if not wanted or container.status != "running":
        yield
        return
    with scope.keeper.held(container.row.id):
        yield
