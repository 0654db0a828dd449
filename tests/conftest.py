"""Fixtures for every tier."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from typing import TYPE_CHECKING

import pytest

from compose.state.paths import Paths
from tests.support import lock, processes, rootfs
from tests.support.leftovers import Machine, detach_below

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

HERE = os.path.dirname(os.path.abspath(__file__))
# Tests make device nodes and rename into a store: not in /tmp, which on Debian 13 is a tmpfs without devices.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/var/tmp")
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # run in the background: our commands are interrupted too
    signal.signal(signal.SIGINT, signal.default_int_handler)

PRIVILEGED = tuple(os.path.join(HERE, tier) + os.sep for tier in ("system", "e2e"))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests that touch the machine hold its lock, and inherit the orphans of what they start."""
    if not str(item.path).startswith(PRIVILEGED):
        return (yield)
    processes.become_subreaper()
    with lock.machine():
        return (yield)


class Territory:
    """The directories of one test run; everything that it makes lies below them."""

    def __init__(self, temporary: str) -> None:
        self.temporary = temporary
        """Where pytest's own temporary directories are."""
        self.data = tempfile.mkdtemp(prefix="pycompose-", dir="/var/tmp")
        # A socket's name may have 107 bytes, and RUN/containers/ID/monitor.sock leaves 18 of them for RUN.
        run_parent = "/run" if os.access("/run", os.W_OK) else "/tmp"
        self.run = tempfile.mkdtemp(prefix="pc", dir=run_parent)
        self._count = 0

    def new_paths(self) -> Paths:
        """Fresh, empty directories for data and run time."""
        self._count += 1
        found = Paths(f"{self.data}/{self._count}", f"{self.run}/{self._count}")
        for directory in (found.data, found.run):
            os.mkdir(directory, mode=0o700)
        return found

    def remove(self, *directories: str) -> None:
        """Remove directories, whatever is mounted in them."""
        for directory in directories:
            detach_below(directory)
            shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def territory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Territory]:
    """The directories of this test run."""
    found = Territory(str(tmp_path_factory.getbasetemp()))
    try:
        yield found
    finally:
        found.remove(found.data, found.run)


@pytest.fixture
def paths(territory: Territory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paths]:
    """Empty data and run-time directories, also for commands that the test starts."""
    found = territory.new_paths()
    monkeypatch.setenv("PYCOMPOSE_DATA_DIR", found.data)
    monkeypatch.setenv("PYCOMPOSE_RUN_DIR", found.run)
    try:
        yield found
    finally:
        territory.remove(found.data, found.run)


@pytest.fixture
def nothing_left(territory: Territory, paths: Paths) -> Iterator[None]:
    """Fail if the test leaves anything on the machine (support/leftovers.py says what is looked at).

    Name it before the fixtures that clean up what they made, so that it looks after they have.
    """
    with Machine((territory.data, territory.run, territory.temporary)).watch():
        yield


@pytest.fixture(scope="session")
def busybox_root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny root file system, for reading only: use it as the lowest layer of an overlay."""
    return rootfs.make_busybox_root(str(tmp_path_factory.mktemp("busybox")))
