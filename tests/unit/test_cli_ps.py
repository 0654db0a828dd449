"""What ps says of a container."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from compose.cli.ps import _Line
from compose.state.index import ContainerRow
from compose.ui.table import table

if TYPE_CHECKING:
    from compose.runtime.spec import ContainerState

NOW = 1_767_225_600_000_000_000
AN_HOUR_AGO = NOW - 3_660_000_000_000


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"status": "created"}, "Created"),
        ({"status": "running", "started_at": AN_HOUR_AGO}, "Up About an hour"),
        (
            {"status": "running", "started_at": AN_HOUR_AGO, "restart_reason": "unhealthy"},
            "Up About an hour, restarted: unhealthy",
        ),
        (
            {"status": "running", "started_at": AN_HOUR_AGO, "oom_killed": True},
            "Up About an hour, a process was out of memory",
        ),
        (
            {"status": "restarting", "exit_code": 0, "restarting_unhealthy": True},
            "Restarting (0, unhealthy)",
        ),
        ({"status": "exited", "exit_code": 3, "finished_at": AN_HOUR_AGO}, "Exited (3) About an hour ago"),
        (
            {"status": "exited", "exit_code": 137, "finished_at": AN_HOUR_AGO, "oom_killed": True},
            "Exited (137, out of memory) About an hour ago",
        ),
        ({"status": "exited", "exit_code": None, "started_at": AN_HOUR_AGO}, "Exited (unknown)"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_words_say_no_more_than_is_known(
    state: ContainerState, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: NOW)
    monkeypatch.setattr(time, "time", lambda: NOW / 1e9)
    row = ContainerRow("0" * 64, "p-web-1", "p", "web", 1, 0, "", "", 0)
    assert _Line(row, {}, state, []).words() == words


def test_what_an_image_says_tells_the_terminal_nothing() -> None:
    """Ports that an image exposes, its command, its name: none of them may hold control characters."""
    shown = table(["NAME", "PORTS"], [["web", "80\x1b]0;title\x07/tcp\nforged"]])
    assert shown == "NAME      PORTS\nweb       80\ufffd]0;title\ufffd/tcp\ufffdforged\n"
