"""The power is cut: what a disk holds then is enough for the next `up`, and nothing on it is believed that is
not whole.

DATA is an ext4 on a loop device that writes back only what is synced (``commit=300``). At a moment of the
work everything stops, and a copy of the device's file is what the disk held: pages that were not written are
not in it. Then all processes end, and the copy is mounted in the place of the original.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compose.images.store import ImageStore
from compose.network.setup.client import fork_setup
from tests.e2e.conftest import NUMBERS, TINY, tiny_image
from tests.e2e.test_boot import remove_groups
from tests.support import processes
from tests.support.chance import SEED
from tests.support.command import Stack
from tests.support.containers import wait_for_end
from tests.support.leftovers import detach_below
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.state.paths import Paths

CUTS = int(os.environ.get("PYCOMPOSE_TEST_CUTS", "1"))
"""How often; more of them where somebody has the time."""
SIZE = 96 << 20
OPTIONS = "loop,commit=300,noatime"

COMPOSE = """
services:
  web:
    build: .
    command: sh -c 'echo begun; exec sleep 1000'
    restart: unless-stopped
    depends_on: [db]
  db:
    image: IMAGE
    command: sh -c 'echo kept > /data/file; exec sleep 1000'
    restart: always
    volumes: [data:/data]
volumes: {data: {}}
"""
DOCKERFILE = "FROM IMAGE\nRUN echo built > /built\nCOPY files /files\n"
"""The last layer is one that no overlay has synced when it was unmounted."""
FILES = {f"{number}": f"content {number}\n" for number in range(50)}


class Disk:
    """A file with an ext4 on it, mounted on a directory."""

    def __init__(self, directory: Path, mount_point: str) -> None:
        self.file = str(directory / "disk")
        self.prepared = str(directory / "prepared")
        self.mount_point = mount_point
        with open(self.file, "wb") as file:
            file.truncate(SIZE)
        command("mkfs.ext4", "-q", "-m", "0", self.file)

    def mount(self) -> None:
        command("mount", "-t", "ext4", "-o", OPTIONS, self.file, self.mount_point)

    def unmount(self) -> None:
        """All is in the file afterwards, also when a process with mounts of its own still has this one."""
        command("sync", "-f", self.mount_point)
        command("umount", self.mount_point)

    def copy(self, source: str, target: str) -> None:
        command("cp", "--sparse=always", source, target)

    def cut(self) -> str:
        """A copy of what the disk holds at one moment.

        Nobody writes any more, but the kernel may be writing back: when two copies are the same, no block has
        changed from the end of the first to the beginning of the second.
        """
        first, second = f"{self.file}-cut", f"{self.file}-cut-again"
        self.copy(self.file, first)
        self.copy(self.file, second)
        while not filecmp.cmp(first, second, shallow=False):
            os.rename(second, first)
            self.copy(self.file, second)
        return first


def command(*arguments: str) -> None:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"


@pytest.fixture
def disk(nothing_left: None, paths: Paths, tmp_path: Path) -> Iterator[Disk]:
    assert shutil.which("mkfs.ext4") is not None, "apt-get install e2fsprogs"
    found = Disk(tmp_path, paths.data)
    try:
        yield found
    finally:
        detach_below(paths.data)


@pytest.fixture
def stack(disk: Disk, paths: Paths, tmp_path: Path, busybox_root: str) -> Iterator[Stack]:
    directory = tmp_path / f"e2e{os.getpid()}n{next(NUMBERS)}"
    directory.mkdir()
    found = Stack(directory, paths, TINY)
    found.write(COMPOSE)
    found.write(DOCKERFILE, "Dockerfile")
    for name, content in FILES.items():
        found.write(content, f"files/{name}")
    disk.mount()
    tiny_image(paths, busybox_root)
    disk.unmount()
    disk.copy(disk.file, disk.prepared)
    yield found


def stop_everything() -> list[int]:
    """Stop all that this test has started, wherever it is, and wait until it has stopped."""
    stopped: set[int] = set()
    deadline = time.monotonic() + MOMENT
    while True:
        there = {one.pid for one in processes.descendants()}
        for pid in there - stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        stopped |= there
        states = {known.state for pid in there if (known := processes.stat(pid)) is not None}
        if states <= set("TtZX"):
            return sorted(there)
        assert time.monotonic() < deadline, "something does not stop"
        time.sleep(0.001)


def cut_the_power(stack: Stack, disk: Disk) -> None:
    """Nothing runs any more, nothing is in memory, and the disk holds what had been written."""
    pids = stop_everything()
    held = disk.cut()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for_end(pids)
    processes.reap()
    with fork_setup(stack.paths) as client:
        assert client.remove_sandbox(stack.name) == []
    remove_groups(stack.host_name)
    detach_below(stack.paths.run)
    shutil.rmtree(stack.paths.run)
    os.mkdir(stack.paths.run, mode=0o700)
    disk.unmount()
    os.rename(held, disk.file)
    disk.mount()


def pretend_another_boot(stack: Stack) -> None:
    """Whatever could be read as a state was written before."""
    with contextlib.suppress(FileNotFoundError):
        for identity in os.listdir(stack.paths.containers):
            path = f"{stack.paths.container(identity)}/state.json"
            with contextlib.suppress(FileNotFoundError, ValueError):
                with open(path) as file:
                    state = json.load(file)
                with open(path, "w") as file:
                    json.dump({**state, "boot_id": "another"}, file)


def be_whole(stack: Stack) -> None:
    """The next `up` works, and all content is right."""
    stack.up()
    run_and_be_right(stack)


def run_and_be_right(stack: Stack) -> None:
    """Everything runs, and all content is right."""
    assert {name.split("-")[1]: one["State"] for name, one in stack.ps("--all").items()} == {
        "web": "running",
        "db": "running",
    }
    names = " ".join(FILES)
    assert stack.shell("web", f"cat /built; cd /files; cat {names}") + "\n" == "built\n" + "".join(
        FILES.values()
    )
    assert stack.shell("db", "cat /data/file") == "kept"


def be_done(stack: Stack, command: str) -> None:
    """What a command has said to be done is done."""
    if command == "down":
        assert stack.ps("--all") == {}
    assert ImageStore(stack.paths).find(f"{stack.name}-web") is not None


def last(stack: Stack, disk: Disk, *arguments: str, before: bool) -> float:
    """How long the command takes; the disk is as it was afterwards."""
    disk.mount()
    if before:
        stack.up()
    begun = time.monotonic()
    stack.run(*arguments)
    seconds = time.monotonic() - begun
    stack.run("down", "-t", "0", "--volumes")
    disk.unmount()
    return seconds


@pytest.mark.timeout(600 + 30 * CUTS)
@pytest.mark.parametrize(
    "arguments", [("up", "-d"), ("down", "-t", "0"), ("build", "--no-cache")], ids=lambda found: found[0]
)
def test_after_a_power_cut_everything_is_whole(stack: Stack, disk: Disk, arguments: tuple[str, ...]) -> None:
    generator = random.Random(SEED)
    before = arguments[0] == "down"
    disk.copy(disk.prepared, disk.file)
    seconds = last(stack, disk, *arguments, before=before)
    for number in range(CUTS):
        moment = generator.choice((generator.random() * seconds, None))  # or when it is done
        disk.copy(disk.prepared, disk.file)
        disk.mount()
        if before:
            stack.up()
        with stack.start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moment)  # the moment is the point here, not an event
            done = process.poll() == 0
            cut_the_power(stack, disk)
        pretend_another_boot(stack)
        try:
            if done:
                be_done(stack, arguments[0])
            be_whole(stack)
            stack.run("down", "-t", "0", "--volumes")
            assert stack.ps("--all") == {}
        except AssertionError as error:
            raise AssertionError(f"PYCOMPOSE_TEST_SEED={SEED}, cut {number}: {error}") from None
        disk.unmount()


@pytest.mark.timeout(600)
def test_what_was_done_is_there_after_a_power_cut(stack: Stack, disk: Disk) -> None:
    """The power is cut right after the commands that have to sync."""
    disk.copy(disk.prepared, disk.file)
    disk.mount()
    stack.up()
    stack.shell("web", "cp -r /files /mine")
    stack.run("commit", "web", f"{stack.name}-mine")  # a layer that no overlay has synced
    cut_the_power(stack, disk)
    pretend_another_boot(stack)
    image = ImageStore(stack.paths).find(f"{stack.name}-mine")
    assert image is not None
    found = {path.name: path.read_text() for path in Path(image.layers[-1], "mine").iterdir()}
    assert found == FILES
    stack.up()
    stack.run("stop", "-t", "0")  # this is synced: they were stopped by hand
    stack.run("start")
    cut_the_power(stack, disk)
    pretend_another_boot(stack)
    stack.run("boot", "start")
    run_and_be_right(stack)
    stack.run("down", "-t", "0", "--volumes")
    disk.unmount()
