"""Stacks to run the command line on."""

from __future__ import annotations

import itertools
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from compose.images import platforms
from compose.images.store import ImageStore
from tests.support.bundles import Bundle, Runtime, reap
from tests.support.command import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compose.state.paths import Paths
    from tests.conftest import Territory

NUMBERS = itertools.count(1)
TINY = "pycompose-test/busybox"


@pytest.fixture(scope="session")
def home(territory: Territory, busybox_root: str) -> Paths:
    """Data and run-time directories for the whole run, with the tiny image in the store.

    Tests share images, nothing else: `nothing_left` looks at containers, volumes and run time.
    """
    paths = territory.new_paths()
    tiny_image(paths, busybox_root)
    return paths


def tiny_image(paths: Paths, busybox_root: str) -> None:
    """Put the tiny image into the store."""
    store = ImageStore(paths)
    with store.session() as session:
        directory = session.directory()
        shutil.copytree(busybox_root, f"{directory}/layer/tree", symlinks=True, dirs_exist_ok=True)
        layer = session.add_layer(directory)
        settings = {"Cmd": ["sh"], "Env": ["PATH=/bin"]}
        config = {"architecture": platforms.host().architecture, "os": "linux", "config": settings}
        session.add_image(config, [layer], [TINY])


@pytest.fixture
def stack(nothing_left: None, home: Paths, tmp_path: Path) -> Iterator[Stack]:
    """An empty project; whatever it made is gone after the test, or the test fails."""
    # A name of its own for each project, because images carry it and are kept.
    directory = tmp_path / f"e2e{os.getpid()}n{next(NUMBERS)}"
    directory.mkdir()
    found = Stack(directory, home, TINY)
    try:
        yield found
    finally:
        if (directory / "compose.yaml").exists():
            found.try_run("down", "--volumes", "--remove-orphans", "--timeout", "0")


@pytest.fixture
def bundle(tmp_path: Path, busybox_root: str) -> Bundle:
    directory = tmp_path / "bundle"
    directory.mkdir()
    return Bundle(directory, busybox_root)


@pytest.fixture
def runtime(nothing_left: None, paths: Paths, tmp_path: Path) -> Iterator[Runtime]:
    """The runtime; containers that a test leaves are deleted after it."""
    found = Runtime(tmp_path / "oci")
    yield found
    for name in found.good("list", "--quiet").split():
        found.good("delete", "--force", name)
    reap()
