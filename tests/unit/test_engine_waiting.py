"""Waiting for containers, also for more of them than the kernel gives notices of."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from compose.engine.embedded import waiting
from compose.errors import ContainerError
from compose.state.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


def test_who_gets_no_notices_looks_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_more() -> None:
        raise OSError(24, "Too many open files")

    ends = iter([{"status": "running"}, {"status": "running"}, {"status": "exited", "exit_code": 0}])
    monkeypatch.setattr(waiting, "Inotify", no_more)
    monkeypatch.setattr(waiting, "_PAUSE", 0.0)
    monkeypatch.setattr(waiting, "read_state", lambda paths, identity: next(ends))
    paths = Paths(str(tmp_path), "")
    os.makedirs(paths.container("0" * 64))
    anyio.run(partial(waiting.completed, paths, "0" * 64, "web-1", "web"))


def test_a_container_that_another_command_removes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="web-1 was removed by another command"):
        waiting.present(Paths(str(tmp_path), ""), "0" * 64, "web-1")


def test_a_container_that_ended_otherwise_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    paths: Any = None

    async def ended(paths: Paths, identity: str, name: str) -> Any:
        yield {"status": "exited", "exit_code": 3}

    monkeypatch.setattr(waiting, "states", ended)
    with pytest.raises(ContainerError, match=r"it exited \(3\)"):
        anyio.run(partial(waiting.completed, paths, "0" * 64, "web-1", "web"))
