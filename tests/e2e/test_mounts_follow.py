"""Single files that are mounted: the container sees what an editor has saved, within a second."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Lines
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Stack

SHOW = """
last=; while :; do
  new=$$(cat /etc/app.conf /etc/mark 2>&1); [ "$$new" = "$$last" ] || echo "sees $$new"; last=$$new
  usleep 10000
done
"""
FILE = f"""
services:
  box:
    image: IMAGE
    command: [sh, -c, {json.dumps(SHOW)}]
    volumes: ["./conf/app.conf:/etc/app.conf:ro", "./conf/mark:/etc/mark"]
    configs: [{{source: app, target: /srv/config}}]
    secrets: [app]
configs: {{app: {{file: conf/app.conf}}}}
secrets: {{app: {{file: conf/app.conf}}}}
"""


@pytest.fixture
def seen(stack: Stack) -> Iterator[Lines]:
    """The lines of a container that prints its mounted file whenever that changes."""
    stack.write("one", "conf/app.conf")
    stack.write("", "conf/mark")
    stack.write(FILE)
    stack.up()
    process = stack.start("logs", "-f", "--no-log-prefix")
    try:
        lines = Lines(process.stdout)
        lines.expect("sees one")
        yield lines
    finally:
        process.kill()
        process.communicate()


def save(stack: Stack, text: str, name: str = "conf/app.conf") -> None:
    """As most editors save: another file, renamed over the first."""
    stack.write(text, f"{name}.new")
    os.rename(stack.directory / f"{name}.new", stack.directory / name)


def mounts(stack: Stack) -> int:
    return int(stack.shell("box", "grep -c app.conf /proc/self/mountinfo"))


def until(stack: Stack, condition: str) -> None:
    """Wait until a shell in the container finds it so: its three files are replaced one after the other."""
    stack.shell("box", f"until {condition}; do usleep 10000; done")


def until_mounts(stack: Stack, number: int) -> None:
    """Wait until nothing is left of mounts that were replaced."""
    until(stack, f'[ "$(grep -c app.conf /proc/self/mountinfo)" = {number} ]')


def test_a_file_that_is_renamed_over_is_seen_at_once(stack: Stack, seen: Lines) -> None:
    before = mounts(stack)
    took = []
    for text in ("two", "three", "five", "six"):
        began = time.monotonic()
        save(stack, text)
        seen.expect(f"sees {text}")
        took.append(time.monotonic() - began)
    assert min(took) < 1.0
    for number in range(300):  # without waiting for anything
        save(stack, f"{number}")
    save(stack, "four")
    seen.expect("sees four")
    until(stack, '[ "$(cat /srv/config /run/secrets/app)" = fourfour ]')
    until_mounts(stack, before)
    assert "Read-only" in stack.try_run("exec", "-T", "box", "sh", "-c", "echo x > /etc/app.conf").err


def test_a_file_that_is_gone_stays_until_it_is_back(stack: Stack, seen: Lines) -> None:
    """As git does: the old file is removed, then the new one made and written."""
    path = stack.directory / "conf/app.conf"
    path.unlink()
    with path.open("w") as file:
        file.write("again")
    seen.expect("sees again")
    shutil.rmtree(path.parent)
    stack.write("whole directory", "conf/app.conf")
    seen.expect("sees whole directory")
    os.rename(path.parent, stack.directory / "former")
    stack.write("moved", "next/app.conf")
    os.rename(stack.directory / "next", path.parent)
    seen.expect("sees moved")


def test_only_a_file_takes_the_place_of_a_file(stack: Stack, seen: Lines) -> None:
    path = stack.directory / "conf/app.conf"
    stack.write("secret", "outside")
    path.unlink()
    path.symlink_to("../outside")
    save(stack, "-link", "conf/mark")
    seen.expect("sees one-link")
    path.unlink()
    path.mkdir()
    save(stack, "-directory", "conf/mark")
    seen.expect("sees one-directory")
    path.rmdir()
    os.rename(path.parent, stack.directory / "real")
    path.parent.symlink_to("real")
    stack.write("behind a link", "real/app.conf")
    path.parent.unlink()
    os.rename(stack.directory / "real", path.parent)
    seen.expect("sees behind a link")


def monitor(stack: Stack) -> int:
    identity = stack.ids()[f"{stack.name}-box-1"]
    [directory] = [name for name in os.listdir(f"{stack.paths.data}/containers") if name.startswith(identity)]
    with open(f"{stack.paths.data}/containers/{directory}/state.json") as file:
        return int(json.load(file)["monitor_pid"])


def test_it_goes_on_when_the_monitor_has_died(stack: Stack, seen: Lines) -> None:
    for number in range(3):
        pid = monitor(stack)
        os.kill(pid, signal.SIGKILL)
        save(stack, f"dead {number}")  # while there is none, or at once when there is a new one
        seen.expect(f"sees dead {number}")
        save(stack, f"alive {number}")
        seen.expect(f"sees alive {number}")
    until_mounts(stack, 3)


def test_a_restarted_container_sees_the_file_of_that_moment_and_follows_it(stack: Stack, seen: Lines) -> None:
    stack.run("kill", "box")
    save(stack, "between")
    stack.up()
    process = stack.start("logs", "-f", "--no-log-prefix")
    try:
        lines = Lines(process.stdout)
        lines.expect("sees between")
        save(stack, "after")
        lines.expect("sees after")
    finally:
        process.kill()
        process.communicate()


def test_a_container_cannot_lead_the_mount_elsewhere(stack: Stack) -> None:
    """The container's own files may have become anything meanwhile: no path of it is looked at."""
    stack.write("one", "conf/app.conf")
    stack.write("", "conf/mark")
    stack.write("""
services:
  box:
    image: IMAGE
    command: [sleep, infinity]
    volumes: ["./conf:/shared", "./conf/app.conf:/srv/deep/app.conf", "./conf/mark:/etc/mark"]
""")
    stack.up()
    stack.shell("box", "mv /srv /moved; mkdir /srv; ln -s /etc /srv/deep; cp /etc/passwd /etc/app.conf")
    stack.shell("box", "echo two > /shared/new; mv /shared/new /shared/app.conf")
    stack.shell("box", "until grep -q two /moved/deep/app.conf; do usleep 1000; done")
    assert stack.shell("box", "cmp /etc/app.conf /etc/passwd && grep -c app.conf /proc/mounts") == "1"
    # A container that can write to the directory makes the file a link: the host's file stays hidden.
    stack.shell("box", "ln -s /etc/hostname /shared/link; mv /shared/link /shared/app.conf")
    stack.shell("box", "echo x > /shared/new; mv /shared/new /shared/mark")
    stack.shell("box", "until grep -q x /etc/mark; do usleep 1000; done")
    assert stack.shell("box", "cat /moved/deep/app.conf") == "two"


def keeper(stack: Stack) -> int:
    with open(f"{stack.paths.project_run(stack.name)}/keeper.json") as file:
        return int(json.load(file)["pid"])


def test_it_goes_on_when_keeper_and_monitor_have_died_one_after_the_other(stack: Stack, seen: Lines) -> None:
    former = keeper(stack)
    os.kill(former, signal.SIGKILL)
    save(stack, "without a keeper")
    seen.expect("sees without a keeper")
    deadline = time.monotonic() + MOMENT
    while keeper(stack) == former:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stack.run("ps")  # the new keeper answers, so the monitor has given it everything or is about to
    save(stack, "with a new one")
    seen.expect("sees with a new one")
    os.kill(monitor(stack), signal.SIGKILL)
    save(stack, "with new ones")
    seen.expect("sees with new ones")
    save(stack, "and goes on")
    seen.expect("sees and goes on")
    until_mounts(stack, 3)
