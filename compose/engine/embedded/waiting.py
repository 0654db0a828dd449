"""Waiting for a container: state.json is replaced whenever something happens, and inotify tells."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.errors import ContainerError
from compose.linux.inotify import CREATE, MOVED_TO, Inotify
from compose.runtime.records import read_state
from compose.runtime.spec import health_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from compose.runtime.spec import ContainerState
    from compose.state.paths import Paths

_PAUSE = 0.2
"""Seconds between two looks where nobody tells."""


async def states(paths: Paths, identity: str, name: str) -> AsyncIterator[ContainerState]:
    """The state of a container now, and again after every change; raises `ContainerError` when it is gone."""
    import anyio

    try:
        watcher = Inotify()
    except OSError:  # a user has 128 of them by default; more containers than that can be waited for
        while True:
            yield present(paths, identity, name)
            await anyio.sleep(_PAUSE)
    try:
        watcher.add(paths.container(identity), MOVED_TO | CREATE)
        while True:
            yield present(paths, identity, name)
            await anyio.wait_readable(watcher.descriptor)
            watcher.read()
    finally:
        watcher.close()


def present(paths: Paths, identity: str, name: str) -> ContainerState:
    """The state of a container; raises `ContainerError` for one that another command has removed."""
    state = read_state(paths, identity)
    if not os.path.exists(paths.container(identity)):
        raise ContainerError(f"container {name} was removed by another command")
    return state


async def healthy(
    paths: Paths, identity: str, name: str, service: str, *, checked: bool, required: bool
) -> None:
    """Return when the container is healthy; raise when it has ended, is unhealthy, or has no check.

    `checked` says whether it has a health check; without `required` one that has none only has to run.
    """
    if not checked and required:
        raise ContainerError(
            f"container {name} has no health check, but another service waits for it to be healthy",
            hint="add 'healthcheck:' to it, or use 'condition: service_started'",
        )
    async for state in states(paths, identity, name):
        health = health_of(state)
        status = state.get("status")
        if status == "running" and (not checked or health == "healthy"):
            return
        if status in ("exited", "dead"):
            raise ContainerError(
                f"container {name} {ended(state)} before it was healthy", hint=_logs(service)
            )
        if health == "unhealthy":
            raise ContainerError(f"container {name} is unhealthy{_last_probe(state)}", hint=_logs(service))


async def completed(paths: Paths, identity: str, name: str, service: str) -> None:
    """Return when the container has exited with code 0; raise when it has ended otherwise."""
    async for state in states(paths, identity, name):
        if state.get("status") in ("exited", "dead"):
            if state.get("exit_code") == 0:
                return
            raise ContainerError(f"container {name} did not complete: it {ended(state)}", hint=_logs(service))


def _logs(service: str) -> str:
    return f"pycompose logs {service}"


def ended(state: ContainerState) -> str:
    """``exited (3)``, ``was killed for want of memory``, ...: how a container ended, in words."""
    if state.get("oom_killed"):
        return "was killed for want of memory"
    code = state.get("exit_code")
    return "ended with an unknown exit code" if code is None else f"exited ({code})"


def _last_probe(state: ContainerState) -> str:
    health = state.get("health")
    output = str(health["log"][-1].get("output") or "").strip() if health and health["log"] else ""
    return f": {output.splitlines()[-1][:200]}" if output else ""
