"""What tests of the runtime and of networks start from; each ends what it made."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.containers import Stand
from tests.support.fake_host import FakeHost
from tests.support.launching import Box
from tests.support.network_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.state.paths import Paths


@pytest.fixture
def stand(nothing_left: None, paths: Paths, busybox_root: str) -> Iterator[Stand]:
    """A project's keeper and containers, without an engine."""
    with contextlib.closing(Stand(paths, busybox_root)) as made:
        yield made


@pytest.fixture
def box(nothing_left: None, tmp_path: Any, busybox_root: str) -> Iterator[Box]:
    """One container, without a keeper."""
    with contextlib.closing(Box(str(tmp_path), busybox_root)) as made:
        yield made


@pytest.fixture
def own_box(nothing_left: None, tmp_path: Any, busybox_root: str) -> Iterator[Box]:
    """One whose root directory is the test's own, to be changed."""
    root = f"{tmp_path}/root"
    shutil.copytree(busybox_root, root, symlinks=True)
    with contextlib.closing(Box(str(tmp_path), root)) as made:
        yield made


@pytest.fixture
def host(nothing_left: None, paths: Paths) -> Iterator[FakeHost]:
    """A host's network, in a namespace."""
    with FakeHost(paths) as found:
        yield found


@pytest.fixture
def lab(nothing_left: None, paths: Paths) -> Iterator[Lab]:
    """netd with a network namespace for a container."""
    with contextlib.closing(Lab(paths)) as made:
        yield made
