"""Several commands of one project at the same time: one after the other, or an end that is one of theirs."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.command import Stack

STACK = """
services:
  web: {image: IMAGE, command: [sleep, infinity], depends_on: [db], networks: [front, back]}
  db: {image: IMAGE, command: [sleep, infinity], networks: [back]}
networks: {front: {}, back: {}}
"""


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was said."""
    out, err = process.communicate(timeout=90)
    assert "Traceback" not in err, err
    return process.returncode, out + err


def test_two_ups_make_one_set_of_containers(stack: Stack) -> None:
    stack.write(STACK)
    for _ in range(3):
        both = [stack.start("up", "-d") for _ in range(2)]
        assert [end(process)[0] for process in both] == [0, 0]
        assert sorted(stack.ps("--all")) == [f"{stack.name}-db-1", f"{stack.name}-web-1"]
        addresses = [stack.shell(service, "ip -4 -o addr show eth0") for service in ("web", "db")]
        assert len(set(addresses)) == 2
        stack.run("down", "-t", "0")


def test_down_and_up_at_once_end_in_one_of_the_two(stack: Stack) -> None:
    stack.write(STACK)
    generator = random.Random(2014)
    for _ in range(3):
        commands = [("up", "-d"), ("down", "-t", "0")]
        generator.shuffle(commands)
        both = [stack.start(*command) for command in commands]
        assert [end(process)[0] for process in both] == [0, 0]
        states = {one["State"] for one in stack.ps("--all").values()}
        assert states in (set(), {"running"})
    stack.run("down", "-t", "0")
    assert stack.ps("--all") == {}


def test_many_runs_at_once_have_their_own_addresses_and_codes(stack: Stack) -> None:
    stack.write(STACK)
    stack.up()
    script = "ip -4 -o addr show eth0 | awk '{print $4}'; read line; exit "
    many = [
        stack.start("run", "--rm", "-T", "db", "sh", "-c", script + str(code), stdin=subprocess.PIPE)
        for code in range(8)
    ]
    found = {process.stdout.readline().strip() for process in many if process.stdout is not None}
    assert len(found) == len(many), found
    assert [end(process)[0] for process in many] == list(range(8))
    assert len(stack.ps("--all")) == 2


def test_a_container_that_is_taken_away_ends_what_is_done_in_it(stack: Stack) -> None:
    stack.write(STACK)
    stack.up()
    with (
        stack.start("exec", "-T", "web", "sleep", "infinity") as inside,
        stack.start("logs", "--follow") as following,
    ):
        stack.run("exec", "-T", "web", "sh", "-c", "until pidof sleep | grep -q ' '; do sleep 0.01; done")
        stack.run("down", "-t", "0")
        assert end(inside)[0] != 0
        assert end(following)[0] == 0
