"""Removing the container of a ``run --rm``: at once, or by a process of its own that waits for its end.

That process is small, an interpreter without site-packages, and executes the removal when it is time. Where
it is killed, the next command that works on the project removes the container.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.state.paths import Paths

_CODE = (
    "import sys; sys.path.insert(0, sys.argv[1]); from compose.cli.waiter import wait; wait(*sys.argv[2:])"
)
_PASSED_ON = ("HOME", "PATH", "PYTHONPATH", "XDG_RUNTIME_DIR")


def start(paths: Paths, project: str, identity: str) -> None:
    """Start the process that removes the container when it has ended."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    arguments = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _CODE, root]
    arguments += [paths.data, paths.run, project, identity, sys.executable]
    environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    actions = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    os.posix_spawn(sys.executable, arguments, environment, file_actions=actions, setsid=True)


def wait(data: str, run: str, project: str, identity: str, interpreter: str) -> None:
    """In that process: wait for the end, then be ``python -m compose.cli.waiter``."""
    from compose.errors import ComposeError
    from compose.linux.files import close_range
    from compose.runtime.client import Keeper
    from compose.state.paths import Paths

    close_range(3)  # what the caller's shell has open for its children
    try:
        Keeper(Paths(data, run), project).wait(identity)
    except ComposeError:
        return  # it has been removed, or nobody knows any more what it was
    os.execve(
        interpreter,
        [interpreter, "-m", "compose.cli.waiter", project, identity],
        {**os.environ, "PYCOMPOSE_DATA_DIR": data, "PYCOMPOSE_RUN_DIR": run},
    )


def remove(paths: Paths, project: str, identity: str) -> None:
    """Remove the container, which has ended, with its anonymous volumes, unless somebody else has."""
    import contextlib

    import anyio

    from compose.engine.embedded.context import Context
    from compose.engine.embedded.engine import EmbeddedEngine
    from compose.network.setup.client import fork_setup
    from compose.plan.actions import RemoveContainer
    from compose.state.lock import project_lock

    network = fork_setup(paths)
    with contextlib.closing(network), project_lock(paths, project, "run") as lock:
        context = Context(paths, project, network=network)
        try:
            for row in context.index.containers(project):
                if row.id == identity:
                    anyio.run(EmbeddedEngine(context).perform, RemoveContainer(row.name, volumes=True))
            if context.is_gone():
                lock.forget_all()
        finally:
            context.close()


if __name__ == "__main__":
    from compose.state.paths import Paths as FoundPaths

    remove(FoundPaths.from_environment(), *sys.argv[1:])
