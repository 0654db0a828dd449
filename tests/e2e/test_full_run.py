"""RUN has no room any more: what is there can be restarted and taken down, all else is one error."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from compose.linux.mount import MNT_DETACH, mount, umount2
from tests.e2e.conftest import NUMBERS, TINY, tiny_image
from tests.support.command import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compose.state.paths import Paths


@pytest.fixture
def stack(nothing_left: None, paths: Paths, tmp_path: Path, busybox_root: str) -> Iterator[Stack]:
    """A project whose run directory is a small file system."""
    directory = tmp_path / f"e2e{os.getpid()}n{next(NUMBERS)}"
    directory.mkdir()
    mount("tmpfs", paths.run, "tmpfs", 0, "mode=0700,size=1m")
    found = Stack(directory, paths, TINY)
    try:
        tiny_image(paths, busybox_root)
        yield found
        found.run("down", "--timeout", "0")
    finally:
        umount2(paths.run, MNT_DETACH)


def fill(directory: str) -> None:
    """Take all the room that is left."""
    with open(f"{directory}/fill", "ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_full_run_directory_is_one_error_and_down_works(stack: Stack, paths: Paths) -> None:
    stack.write("""
services:
  web: {image: IMAGE, command: sleep 1000}
  db: {image: IMAGE, command: sleep 1000}
""")
    stack.up()
    fill(paths.run)
    stack.run("restart", "-t", "0", "web")
    assert stack.shell("web", "echo here") == "here"
    fill(paths.run)
    failed = stack.fails("run", "--rm", "db", "true")
    assert "No space left on device: " in failed
    assert "Traceback" not in failed
    fill(paths.run)
    stack.run("down", "-t", "0")
    assert stack.run("ps", "-aq") == ""
