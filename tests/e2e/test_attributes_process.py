"""Keys about the process: ``init``, users and groups, capabilities, ``security_opt``, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.attribute_rows import Row, services, wrong

if TYPE_CHECKING:
    from tests.support.command import Stack

ROWS = [
    Row("init", "init: true", "cat /proc/1/comm; echo $$", "init\n2"),
    Row("init false", "init: false", "cat /proc/1/comm; echo $$", "sh\n1"),
    Row("init as a user", "init: true, user: app, read_only: true", "id -u; cat /proc/1/comm", "1000\ninit"),
]


def test_every_key_has_its_effect(stack: Stack) -> None:
    stack.write("services:\n" + services(ROWS))
    assert "warning" not in stack.up()
    assert wrong(stack, ROWS) == {}
