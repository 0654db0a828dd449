"""``pycompose up`` without ``-d``: logs until everything has ended, or Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, NamedTuple

from compose.ui.streams import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType

    from compose.model import Project
    from compose.state.index import ContainerRow
    from compose.state.paths import Paths

_INTERRUPTED = 130
_UNKNOWN = 255
"""The exit code when a container's own cannot be learnt."""


class Attached(NamedTuple):
    """Of which services an attached ``up`` waits for the end, and whose logs it shows."""

    services: tuple[str, ...]
    shown: frozenset[str]


def follow_until_stopped(
    arguments: argparse.Namespace, paths: Paths, project: Project, attached: Attached, since: int
) -> int:
    """Print what was written from `since` (nanoseconds) on, until everything has ended; the exit code.

    The first Ctrl-C (or TERM) stops the containers, the second one kills them; what they write meanwhile is
    printed as well. The first end of a container does the same where the options say so.
    """
    from compose.cli.following import Following
    from compose.cli.log_lines import label, log_printer
    from compose.state.index import Index

    def wanted(row: ContainerRow) -> bool:
        return not row.oneoff and (row.service in attached.services or row.service in attached.shown)

    with contextlib.closing(Index(paths)) as index:
        rows = [row for row in index.containers(project.name) if wanted(row)]
    shown = [row for row in rows if row.service in attached.shown]
    printer = log_printer(arguments, project.name, shown)
    ending = _Ending(arguments, paths, project, attached.services)
    before = {number: signal.signal(number, ending.interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if shown:
            sys.stdout.write(f"Attaching to {', '.join(label(project.name, row) for row in shown)}\n")
            sys.stdout.flush()
        with Following(
            paths,
            project.name,
            printer,
            wanted,
            shown=lambda row: row.service in attached.shown,
            ended=lambda key, row: ending.ended(key, row.service, row.id),
            since=since,
        ) as following:
            following.add(rows)
            following.run(lambda row: row.service in attached.services)
        return ending.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Ending:
    """What interrupts and ends of containers lead to, in threads, so that the logs go on."""

    def __init__(
        self, arguments: argparse.Namespace, paths: Paths, project: Project, services: Sequence[str]
    ) -> None:
        self._arguments = arguments
        self._paths = paths
        self._services = services
        self._to_complete = {
            name
            for config in project.services.values()
            for name, how in (config.get("depends_on") or {}).items()
            if how.get("condition") == "service_completed_successfully"
        }
        """Services whose success others have waited for: their end is no reason to stop."""
        self._stop = threading.Thread(
            target=_carry_out_stop, args=(arguments, paths, project, services), daemon=True
        )
        self._kill = threading.Thread(target=_kill, args=(paths, project.name, services), daemon=True)
        self._waiting = [self._kill, self._stop]
        self._interrupted = False
        self._code: int | None = None

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """The first time stop; the second time kill: the stop then has nothing to wait for."""
        self._interrupted = True
        if not self._waiting:
            return
        thread = self._waiting.pop()
        if thread is self._stop:
            say("Gracefully stopping... (press Ctrl+C again to force)\n")
        thread.start()

    def ended(self, label: str, service: str, identity: str) -> None:
        """A container has ended for good: say so, and stop the others if that was asked for."""
        from compose.errors import StateError
        from compose.runtime.records import read_state

        try:
            code = read_state(self._paths, identity).get("exit_code")
        except StateError:  # removed meanwhile
            return
        sys.stdout.write(f"{label} exited with {'an unknown code' if code is None else f'code {code}'}\n")
        sys.stdout.flush()
        options = self._arguments
        if service in self._services and not (code == 0 and service in self._to_complete):
            self._note_code(service, _UNKNOWN if code is None else code)
            failed = options.abort_on_container_failure and code != 0
            if failed or options.abort_on_container_exit or options.exit_code_from:
                self._abort()

    def _note_code(self, service: str, code: int) -> None:
        options = self._arguments
        if options.exit_code_from:
            if service == options.exit_code_from and self._code is None:
                self._code = code
        elif options.abort_on_container_exit or (options.abort_on_container_failure and code):
            if self._code is None and not self._interrupted:
                self._code = code

    def _abort(self) -> None:
        if self._stop in self._waiting:
            say("Aborting on container exit...\n")
            self._waiting.pop().start()

    def wait(self) -> int:
        """The exit code, once all that was begun is over."""
        if self._stop not in self._waiting:
            self._stop.join()
        if self._code is not None:
            return self._code
        return _INTERRUPTED if self._interrupted else 0


def _kill(paths: Paths, project: str, services: Sequence[str]) -> None:
    """End all containers without grace; what does not run any more is no error."""
    from compose.errors import ComposeError
    from compose.runtime.client import Keeper
    from compose.state.index import Index

    keeper = Keeper(paths, project)
    with contextlib.closing(Index(paths)) as index:
        rows = [row for row in index.containers(project) if row.service in services]
    for row in rows:
        with contextlib.suppress(ComposeError):
            keeper.stop(row.id, grace=0)


def _carry_out_stop(
    arguments: argparse.Namespace,
    paths: Paths,
    project: Project,
    services: Sequence[str],
) -> None:
    from compose.cli import project as projects
    from compose.cli.running import carry_out
    from compose.engine.embedded.context import Context
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.plan.teardown import plan_stop
    from compose.state.lock import project_lock
    from compose.ui.progress import reporter

    with project_lock(paths, project.name, "stop", projects.waiting):
        context = Context(paths, project.name, project=project, warn=projects.warn)
        try:
            engine = EmbeddedEngine(context)
            dependencies = {name: project.dependencies(name) for name in project.services}
            plan = plan_stop(engine.observe(), services, dependencies, arguments.timeout, regardless=True)
            carry_out(
                plan,
                engine,
                reporter("stop", "plain" if arguments.progress in ("auto", "tty") else arguments.progress),
                keep_going=True,
            )
        finally:
            context.close()
