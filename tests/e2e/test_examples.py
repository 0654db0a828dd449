"""Every example is run as it is, from nothing, over the ways that a user has."""

from __future__ import annotations

import os
import re
import shutil
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Stack
from tests.support.patience import LONG, MOMENT
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.state.paths import Paths

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def example(
    request: pytest.FixtureRequest, nothing_left: None, home: Paths, tmp_path: Path
) -> Iterator[Stack]:
    """A copy of the example that the test names, under a project name of its own."""
    directory = tmp_path / str(request.param)
    shutil.copytree(EXAMPLES / request.param, directory)
    found = Stack(directory, home)
    found.environment["COMPOSE_PROJECT_NAME"] = f"{request.param}{os.getpid()}"
    try:
        yield found
    finally:
        found.try_run("down", "--volumes", "--timeout", "0")


def visit(port: int) -> tuple[int, int, str]:
    """What the page says: counted by Redis, stored by MariaDB, where the visitor comes from."""
    with urllib.request.urlopen(f"http://localhost:{port}/", timeout=MOMENT) as answer:
        text = answer.read().decode()
    counted, stored = (re.search(rf'id="{name}">(\d+)<', text) for name in ("counted", "stored"))
    address = re.search(r'id="address">([^<]+)<', text)
    assert counted and stored and address, text
    return int(counted[1]), int(stored[1]), address[1]


@pytest.mark.timeout(LONG)
@pytest.mark.parametrize("example", ["hello"], indirect=True)
def test_hello_greets_from_debian(example: Stack) -> None:
    example.run("up", "-d", patience=LONG)
    example.until_written("hello-1  | Hello from Debian GNU/Linux 12 (bookworm)")
    example.run("down")


@pytest.mark.timeout(2 * LONG)
@pytest.mark.parametrize("example", ["lemp"], indirect=True)
def test_lemp_answers_over_http_and_counts_and_keeps_its_data(example: Stack) -> None:
    port = free_port()
    example.environment["WEB_PORT"] = str(port)
    example.run("up", "-d", "--wait", patience=LONG)
    assert {one["Health"] for one in example.ps().values()} == {"healthy"}
    assert [visit(port)[:2] for _ in range(3)] == [(1, 1), (2, 2), (3, 3)]
    query = example.run("exec", "-T", "db", "mariadb", "visits", "-N", "-e", "SELECT COUNT(*) FROM visit")
    assert query == "3\n"
    example.until_written("GET / HTTP/1.1", "web", times=3)

    example.run("down")
    example.run("up", "-d", "--wait")
    assert visit(port)[:2] == (4, 4)

    (example.directory / "site/index.php").write_text("<?php echo 'edited';", encoding="utf-8")
    with urllib.request.urlopen(f"http://localhost:{port}/", timeout=MOMENT) as answer:
        assert answer.read() == b"edited"
    example.run("down", "--volumes")
