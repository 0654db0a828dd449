"""``pycompose up`` without ``-d``: logs until everything has ended, or Ctrl-C."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

from compose.ui.streams import say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType

    from compose.model import Project
    from compose.state.paths import Paths

_INTERRUPTED = 130


def follow_until_stopped(
    arguments: argparse.Namespace, paths: Paths, project: Project, services: Sequence[str], since: int
) -> int:
    """Print what was written from `since` (nanoseconds) on, until everything has ended.

    The first Ctrl-C (or TERM) stops the containers, the second one kills them; what they write meanwhile is
    printed as well.
    """
    from compose.cli.logs import follow, log_printer
    from compose.state.index import Index

    with contextlib.closing(Index(paths)) as index:
        rows = [
            row
            for row in index.containers(project.name)
            if row.service in services and project.services[row.service].get("attach", True)
        ]
    printer = log_printer(arguments, project.name, rows)
    ending = _Ending(arguments, paths, project, services)
    before = {number: signal.signal(number, ending.interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        follow(paths, printer, project.name, rows, since=since, ended=lambda *one: _say_ended(paths, *one))
        return ending.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_ended(paths: Paths, label: str, identity: str) -> None:
    from compose.errors import StateError
    from compose.runtime.client import read_state

    try:
        code = read_state(paths, identity).get("exit_code")
    except StateError:  # removed meanwhile
        return
    sys.stdout.write(f"{label} exited with {'an unknown code' if code is None else f'code {code}'}\n")
    sys.stdout.flush()


class _Ending:
    """What interrupts lead to, in threads, so that the logs go on."""

    def __init__(
        self, arguments: argparse.Namespace, paths: Paths, project: Project, services: Sequence[str]
    ) -> None:
        self._stop = threading.Thread(
            target=_carry_out_stop, args=(arguments, paths, project, services), daemon=True
        )
        self._kill = threading.Thread(target=_kill, args=(paths, project.name, services), daemon=True)
        self._waiting = [self._kill, self._stop]

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """The first time stop; the second time kill: the stop then has nothing to wait for."""
        if not self._waiting:
            return
        thread = self._waiting.pop()
        if thread is self._stop:
            say("Gracefully stopping... (press Ctrl+C again to force)\n")
        thread.start()

    def wait(self) -> int:
        """The exit code, once all that was begun is over."""
        if self._stop in self._waiting:
            return 0
        self._stop.join()
        return _INTERRUPTED


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

    with project_lock(paths, project.name, "stop", lambda holder: projects.warn(f"waiting for {holder}")):
        context = Context(paths, project.name, project=project, warn=projects.warn)
        try:
            engine = EmbeddedEngine(context)
            dependencies = {name: project.dependencies(name) for name in project.services}
            plan = plan_stop(engine.observe(), services, dependencies, arguments.timeout)
            carry_out(
                plan,
                engine,
                reporter("stop", "quiet" if arguments.progress == "quiet" else "plain"),
                keep_going=True,
            )
        finally:
            context.close()
