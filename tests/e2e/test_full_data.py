"""DATA has no room any more, for bytes or for files: one clear error, and what is there can be removed."""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING

import pytest

from compose.linux.mount import MNT_DETACH, MS_BIND, MS_RDONLY, MS_REMOUNT, mount, umount2
from tests.e2e.conftest import NUMBERS, TINY, tiny_image
from tests.support.chance import SEED
from tests.support.command import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compose.state.paths import Paths

ROUNDS = int(os.environ.get("PYCOMPOSE_TEST_FULL", "1"))
"""How often, with as much room left as chance wants."""
INODES = 4000
BYTES = 32 << 20
MOST_LEFT = {"inodes": 60, "bytes": 400_000}

COMPOSE = """
services:
  web: {build: ., command: sh -c 'echo begun; exec sleep 1000', depends_on: [db]}
  db: {image: IMAGE, command: sleep 1000, volumes: [data:/data]}
volumes: {data: {}}
"""
DOCKERFILE = "FROM IMAGE\nRUN i=0; while [ $i -lt 20 ]; do echo content > /file$i; i=$((i+1)); done\n"


@pytest.fixture
def stack(nothing_left: None, paths: Paths, tmp_path: Path, busybox_root: str) -> Iterator[Stack]:
    """A project whose data lie on a small file system."""
    directory = tmp_path / f"e2e{os.getpid()}n{next(NUMBERS)}"
    directory.mkdir()
    mount("tmpfs", paths.data, "tmpfs", 0, f"mode=0700,size={BYTES},nr_inodes={INODES}")
    found = Stack(directory, paths, TINY)
    found.write(COMPOSE)
    found.write(DOCKERFILE, "Dockerfile")
    try:
        tiny_image(paths, busybox_root)
        found.run("up", "--no-start", "db")
        found.run("down", "--volumes")
        yield found
    finally:
        umount2(paths.data, MNT_DETACH)


def fill(directory: str, what: str, left: int) -> str:
    """Leave so many bytes or inodes; the directory that takes the others."""
    path = f"{directory}/fill"
    os.mkdir(path)
    status = os.statvfs(directory)
    if what == "inodes":
        for number in range(max(0, status.f_favail - left)):
            os.close(os.open(f"{path}/{number}", os.O_CREAT | os.O_WRONLY))
    else:
        with open(f"{path}/all", "wb", buffering=0) as file:
            for _ in range(max(0, status.f_bavail * status.f_bsize - left) // 4096):
                file.write(bytes(4096))
    return path


def empty(path: str) -> None:
    for name in os.listdir(path):
        os.unlink(f"{path}/{name}")
    os.rmdir(path)


@pytest.mark.timeout(600 + 10 * ROUNDS)
@pytest.mark.parametrize("what", ["inodes", "bytes"])
@pytest.mark.parametrize("command", [("up", "-d"), ("build", "--no-cache")], ids=lambda found: found[0])
def test_a_full_disk_is_one_error_and_down_works(stack: Stack, command: tuple[str, ...], what: str) -> None:
    generator = random.Random(SEED)
    for _ in range(ROUNDS):
        left = int(MOST_LEFT[what] * generator.choice((0.0, generator.random())))
        filler = fill(stack.paths.data, what, left)
        case = f"PYCOMPOSE_TEST_SEED={SEED}: {left} {what} left"
        done = stack.try_run(*command)
        assert "Traceback" not in done.err and "internal error" not in done.err, f"{case}: {done}"
        assert done.code in (0, 1), f"{case}: {done}"
        if done.code:
            assert "No space left" in done.err or "full" in done.err, f"{case}: {done}"
        listed = stack.try_run("ps", "--all")
        assert listed.code == 0, f"{case}: {listed}"
        down = stack.try_run("down", "-t", "0", "--volumes")
        assert down.code == 0, f"{case}: {down}"
        empty(filler)
        stack.up()
        assert {one["State"] for one in stack.ps().values()} == {"running"}
        assert stack.shell("web", "cat /file19") == "content"
        stack.run("down", "-t", "0", "--volumes", "--rmi", "local")


def test_an_overlay_without_an_inode_for_itself_is_no_read_only_root(stack: Stack) -> None:
    """The kernel makes it one; what then fails would say something that misleads."""
    for left in range(4, 16, 2):
        filler = fill(stack.paths.data, "inodes", left)
        done = stack.try_run("build", "--no-cache")
        assert "Read-only" not in done.err, f"{left} inodes: {done}"
        assert done.code == 1 and "No space left" in done.err, f"{left} inodes: {done}"
        empty(filler)


def test_that_there_is_no_room_for_an_index_is_said(stack: Stack) -> None:
    for name in os.listdir(stack.paths.data):
        if name.startswith("index.sqlite"):
            os.unlink(f"{stack.paths.data}/{name}")
    filler = fill(stack.paths.data, "inodes", 0)
    assert "No space left on device" in stack.fails("up", "-d")
    empty(filler)


def test_containers_run_on_and_are_taken_down_when_the_disk_gets_full(stack: Stack) -> None:
    stack.up()
    stack.until_written("begun", "web")
    filler = fill(stack.paths.data, "inodes", 0)
    with contextlib.suppress(OSError), open(f"{filler}/more", "wb") as file:
        file.write(bytes(BYTES))
    assert stack.shell("web", "echo runs") == "runs"
    assert {one["State"] for one in stack.ps().values()} == {"running"}
    assert "begun" in stack.run("logs", "web")
    stack.run("down", "-t", "0", "--volumes")
    empty(filler)


def test_a_state_that_cannot_be_written_is_told_and_known_all_the_same(stack: Stack) -> None:
    """Whatever the reason is: here the directory is read-only for a while."""
    stack.write("services:\n  web: {image: IMAGE, command: sleep 1000, init: true}\n")
    stack.up()
    (identity,) = stack.ids().values()
    directory = next(
        f"{stack.paths.containers}/{one}"
        for one in os.listdir(stack.paths.containers)
        if one.startswith(identity)
    )
    mount(directory, directory, None, MS_BIND)
    mount(None, directory, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
    try:
        done = stack.try_run("kill", "-s", "KILL")
        assert done.code == 0, done
        done = stack.try_run("ps", "--all", "--format", "{{.State}} {{.ExitCode}}")
        assert done.out == "exited 137\n", done
        assert f"its state cannot be written: {directory}/state.json: Read-only file system" in done.err
        with open(f"{stack.paths.project_run(stack.name)}/errors.log", encoding="utf-8") as file:
            assert file.read().count("Read-only file system: ") == 1
    finally:
        umount2(directory, MNT_DETACH)
    stack.up()
    done = stack.try_run("ps", "--format", "{{.State}}")
    assert (done.out, done.err) == ("running\n", "")
    stack.run("down", "-t", "0")
