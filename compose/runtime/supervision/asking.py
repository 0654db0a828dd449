"""Requests to a project's keeper, one a connection, and repeated to the successor of one that died."""

from __future__ import annotations

import time

from compose.errors import ContainerError
from compose.linux import sockets
from compose.runtime import protocol
from compose.runtime.supervision import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.runtime.protocol import Message
    from compose.state.paths import Paths

    Fields = Mapping[str, Any]

PATIENCE = 20.0
"""Seconds to wait for the successor of a helper that died, or for one that begins or ends; on a machine that
is busy with other things."""


def ask(
    paths: Paths,
    project: str,
    op: str,
    descriptors: Sequence[int] = (),
    fields: Fields | None = None,
) -> Message:
    """One request; all but a start are repeated when the keeper dies over them.

    Raises `ContainerError` with what the keeper says, or because there is none, and `ConnectionError` where a
    start may have happened.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask_once(paths, project, op, descriptors, fields)
        except ConnectionRefusedError:  # it was never asked; one that was killed gets a successor
            if not spawn.has_record(paths, project) or time.monotonic() > deadline:
                raise _no_keeper(project) from None
        except ConnectionError:
            if op == "start":
                raise
            if time.monotonic() > deadline:
                raise ContainerError(
                    f"the keeper of project {project} died",
                    hint=f"cat {paths.project_run(project)}/errors.log",
                ) from None
        spawn.ensure_again(paths, project)


def ask_once(
    paths: Paths,
    project: str,
    op: str,
    descriptors: Sequence[int] = (),
    fields: Fields | None = None,
    *,
    seconds: float | None = None,
) -> Message:
    """One request to the keeper of the moment, which has so many seconds to answer. Raises `ContainerError`,
    `OSError`."""
    try:
        connection = sockets.connect(paths.project_run(project), protocol.KEEPER_SOCKET)
    except ConnectionRefusedError:
        raise
    except OSError:
        raise _no_keeper(project) from None
    try:
        connection.settimeout(seconds)
        protocol.request(connection, op, descriptors, **(fields or {}))
        return protocol.check(protocol.receive(connection)[0])
    finally:
        connection.close()


def put_all(paths: Paths, project: str, named: Mapping[str, Sequence[int]]) -> None:
    """Give the keeper copies of many descriptors; all of them are held when this returns."""
    for names, descriptors in protocol.batches(named):
        ask(paths, project, "put", descriptors, {"names": names})


def held_names(paths: Paths, project: str) -> list[str]:
    """The names of everything that the keeper holds for the engine."""
    return list(ask(paths, project, "names")["names"])


def _no_keeper(project: str) -> ContainerError:
    return ContainerError(f"the keeper of project {project} does not run", hint="pycompose up -d")
