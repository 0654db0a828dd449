"""``pycompose cp``."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import IO, TYPE_CHECKING

from compose.errors import ContainerError, UsageError
from compose.ui.streams import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from compose.cli.scope import Container, Scope
    from compose.engine.embedded.transfer import Side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--all", action="store_true", help="also containers that `run` has made")
    add("-a", "--archive", action="store_true", help="keep owners and modes as they are, when copying out")
    add("-L", "--follow-link", action="store_true", help="copy what a link at the source leads to")
    add("--index", type=int, default=0, help="which container of the service")
    add("source", metavar="SOURCE", help="PATH, SERVICE:PATH, or - for a tar archive")
    add("destination", metavar="DESTINATION", help="SERVICE:PATH, PATH, or - for a tar archive")


def run(arguments: argparse.Namespace) -> int:
    """Copy files between a service's containers and the local file system."""
    from compose.cli.scope import Scope

    source_service, source = _split(arguments.source)
    service, destination = _split(arguments.destination)
    if source_service and service:
        raise UsageError("copying between services is not supported", hint="copy to a local directory first")
    if not source_service and not service:
        raise UsageError("one of the two must be SERVICE:PATH", hint="pycompose cp web:/etc/hosts .")
    if not (source if source_service else destination):
        raise UsageError("an empty path in the container", hint="pycompose cp web:/etc/hosts .")
    scope = Scope(arguments)
    found = _containers(scope, arguments, source_service or service)
    if arguments.dry_run:
        for container in found:
            sys.stdout.write(f"copy {arguments.source} to {arguments.destination} ({container.row.name})\n")
    elif source_service:
        _out(scope, arguments, found[0], source, destination)
    else:
        _in(scope, arguments, found, source, destination)
    return 0


def _split(argument: str) -> tuple[str, str]:
    """Service and path; a path with a slash or a dot before the colon is local, as under docker."""
    service, colon, path = argument.partition(":")
    if not colon or argument.startswith(("/", ".")):
        return "", argument
    return service, path


def _containers(scope: Scope, arguments: argparse.Namespace, service: str) -> list[Container]:
    found = scope.containers([service], oneoff=arguments.all)
    if arguments.index:
        found = [one for one in found if one.row.number == arguments.index]
    if not found:
        number = f" #{arguments.index}" if arguments.index else ""
        raise ContainerError(f"no container{number} found for service {service}")
    return found


@contextlib.contextmanager
def _side(scope: Scope, container: Container, event: str) -> Iterator[Side]:
    """The container's file system; where nothing runs in it, nothing begins to meanwhile."""
    from compose.engine.embedded.transfer import Side
    from compose.runtime.container.outside import opened
    from compose.state import events

    with scope.steady(container, "cp") as now, opened(now.spec, now.state) as root:
        yield Side(root, f"container {container.row.name}")
        events.record(scope.paths, now.spec, event)


@contextlib.contextmanager
def _host() -> Iterator[Side]:
    from compose.engine.embedded.transfer import Side

    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Side(root, "")
    finally:
        os.close(root)


def _out(scope: Scope, arguments: argparse.Namespace, container: Container, source: str, target: str) -> None:
    from compose.cli.project import warn
    from compose.engine.embedded.transfer import Rules, archive, copy

    with _side(scope, container, "archive-path") as side:
        if target == "-":
            archive(side, source, sys.stdout.buffer.write, follow=arguments.follow_link)
            sys.stdout.flush()
            return
        owner = None if arguments.archive else (os.geteuid(), os.getegid())
        rules = Rules(owner, plain=not arguments.archive, follow=arguments.follow_link, warn=warn)
        with _host() as host:
            copy(side, source, host, _absolute(target), rules)
    _say(arguments, container)


def _in(
    scope: Scope, arguments: argparse.Namespace, found: list[Container], source: str, target: str
) -> None:
    from compose.engine.embedded.transfer import Rules, copy, extract
    from compose.images.tar import uncompressed

    rules = Rules(follow=arguments.follow_link)
    if source == "-":
        with _rewindable(sys.stdin.buffer, len(found)) as stream:
            for container in found:
                with _side(scope, container, "extract-to-dir") as side:
                    extract(uncompressed(stream), side, target, rules)
                if len(found) > 1:
                    stream.seek(0)
                _say(arguments, container)
        return
    with _host() as host:
        for container in found:
            with _side(scope, container, "extract-to-dir") as side:
                copy(host, _absolute(source), side, target, rules)
            _say(arguments, container)


@contextlib.contextmanager
def _rewindable(stream: IO[bytes], times: int) -> Iterator[IO[bytes]]:
    """The stream itself, or a file with its content when it is read more than once."""
    if times == 1:
        yield stream
        return
    import shutil
    import tempfile

    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(stream, file)
        file.seek(0)
        yield file


def _absolute(path: str) -> str:
    """A local path from the root, with the end that says what is meant: ``/`` or ``/.``."""
    end = "/." if path.endswith("/.") or path == "." else "/" if path.endswith("/") else ""
    return os.path.abspath(path).rstrip("/") + end or "/"


def _say(arguments: argparse.Namespace, container: Container) -> None:
    if arguments.progress != "quiet":
        say(f" {container.row.name} copy {arguments.source} to {arguments.destination} Copied\n")
