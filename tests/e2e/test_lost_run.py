"""The run directory is deleted while containers run: the next command finds them all the same."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from compose.runtime.supervision.asking import PATIENCE
from compose.state.files import read_json
from tests.support.leftovers import detach_below
from tests.support.processes import Process, descendants

if TYPE_CHECKING:
    from tests.support.command import Stack

COMPOSE = """
services:
  web:
    image: IMAGE
    command: sh -c 'i=0; while [ ! -e /enough ]; do echo line $$i; i=$$((i+1)); sleep 0.01; done; sleep 1000'
    ports: [8080]
  db: {image: IMAGE, command: sleep 1000}
  job: {image: IMAGE, command: "true"}
"""


def delete(stack: Stack, *, mounts: bool) -> None:
    """As a cleaner of /run does it, that leaves mounts alone; or as somebody does who takes all of it."""
    if mounts:
        detach_below(stack.paths.run)
    for name in os.listdir(stack.paths.run):
        shutil.rmtree(f"{stack.paths.run}/{name}", ignore_errors=True)


def helpers() -> set[Process]:
    return {one for one, text in descendants().items() if "compose.runtime.supervision.keeper" in text}


@pytest.mark.parametrize("mounts", [False, True], ids=["files", "everything"])
@pytest.mark.parametrize("command", ["down", "stop", "up"])
def test_the_next_command_finds_what_runs(stack: Stack, command: str, mounts: bool) -> None:
    stack.write(COMPOSE)
    stack.up()
    stack.try_run("wait", "job")  # until its end is written down; an error where it is already
    before = helpers()
    delete(stack, mounts=mounts)
    if command != "down":
        assert {name.split("-")[1]: one["State"] for name, one in stack.ps("--all").items()} == {
            "web": "running",
            "db": "running",
            "job": "exited",
        }
    begun = time.monotonic()
    stack.run(command, "-d" if command == "up" else "-t0")
    assert time.monotonic() - begun < PATIENCE  # what it waits for a helper that may still come
    if command == "up":
        assert stack.shell("web", "nslookup db >/dev/null && echo found") == "found"
        stack.shell("web", "touch /enough")
        assert {one["State"] for one in stack.ps().values()} == {"running"}
        record = read_json(f"{stack.paths.project_run(stack.name)}/keeper.json")
        assert record["pid"] not in {one.pid for one in before}
    stack.run("down", "-t", "0")
    assert not helpers()


def test_a_running_container_can_be_entered_and_loses_no_line(stack: Stack) -> None:
    stack.write(COMPOSE)
    stack.up()
    delete(stack, mounts=False)
    stack.shell("web", "touch /enough")
    stack.run("stop", "-t", "0", "web")
    lines = stack.run("logs", "--no-log-prefix", "web").splitlines()
    assert lines == [f"line {number}" for number in range(len(lines))]


def test_what_has_ended_leaves_nothing_either(stack: Stack) -> None:
    stack.write(COMPOSE)
    stack.up()
    stack.run("stop", "-t", "0")
    delete(stack, mounts=True)
    stack.run("down")
    assert not helpers()
