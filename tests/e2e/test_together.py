"""Several commands of one project at the same time: one after the other, or an end that is one of theirs."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from compose.runtime import cgroups
from compose.runtime.cgroups import common
from compose.state.files import read_json
from tests.e2e.conftest import tiny_image
from tests.e2e.test_resources import parent_of
from tests.support.command import Lines, Stack
from tests.support.patience import MOMENT
from tests.support.ports import answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from compose.state.paths import Paths

STACK = """
services:
  web: {image: IMAGE, command: [sleep, infinity], depends_on: [db], networks: [front, back]}
  db: {image: IMAGE, command: [sleep, infinity], networks: [back]}
networks: {front: {}, back: {}}
"""


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was said."""
    out, err = process.communicate(timeout=MOMENT)
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


WAITING = """
services:
  db:
    image: IMAGE
    command: [sleep, infinity]
    stop_grace_period: 0s
    healthcheck: {test: "false", interval: 1s, retries: 1000}
  web: {image: IMAGE, command: [sleep, infinity], depends_on: {db: {condition: service_healthy}}}
"""
HELD_UP = """
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    stop_grace_period: 0s
    KIND: [{command: [sh, -c, "echo begun; exec sleep 77777"]}]
"""


@pytest.mark.parametrize("command", ["down", "stop", "kill", "down db"])
def test_who_takes_away_works_beside_an_up_that_waits(stack: Stack, command: str) -> None:
    stack.write(WAITING)
    with stack.start("up", "-d") as waiting:
        Lines(waiting.stderr).expect(f"Container {stack.name}-db-1  Waiting")
        stack.run(*command.split())
        assert end(waiting)[0] == 1
    assert "running" not in {one["State"] for one in stack.ps("--all").values()}
    stack.run("down")
    assert os.listdir(stack.paths.locks) == []


@pytest.mark.parametrize("kind", ["pre_start", "post_start"])
def test_down_ends_an_up_that_waits_for_a_hook(stack: Stack, kind: str) -> None:
    stack.write(HELD_UP.replace("KIND", kind))
    with stack.start("up", "-d") as waiting:
        Lines(waiting.stderr).expect("begun")
        stack.run("down")
        code, said = end(waiting)
    assert code == 1 and "hook" in said, said
    assert stack.ps("--all") == {}


def test_an_up_waits_for_another_that_waits(stack: Stack) -> None:
    """They would make and open the same things; whoever is asked to go on says for whom it waits."""
    stack.write(WAITING)
    with stack.start("up", "-d") as first:
        Lines(first.stderr).expect(f"Container {stack.name}-db-1  Waiting")
        with stack.start("up", "-d") as second:
            Lines(second.stderr).expect(f"waiting for pycompose up (pid {first.pid})")
            second.send_signal(signal.SIGINT)
            assert second.wait(MOMENT) == 130
        stack.run("down")
        assert end(first)[0] == 1


def test_down_works_beside_a_build(stack: Stack) -> None:
    stack.write("FROM IMAGE\nRUN echo begun && sleep 77777\n", "Dockerfile")
    stack.write(f"services:\n  built: {{build: .}}\n{STACK.split('services:')[1]}")
    stack.up("db")
    with stack.start("up", "-d") as building:
        Lines(building.stderr).expect("begun")
        stack.run("down", "-t", "0")
        building.send_signal(signal.SIGINT)
        assert building.wait(MOMENT) == 130
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
        stack.shell("db", "echo said > /proc/1/fd/1")
        Lines(following.stdout).expect("said")
        stack.run("down", "-t", "0")
        assert end(inside)[0] != 0
        assert end(following)[0] == 0


@pytest.fixture
def twin(stack: Stack, paths: Paths, tmp_path: Path, busybox_root: str) -> Iterator[Stack]:
    """The same project in another checkout, with directories of its own."""
    directory = tmp_path / "twin" / stack.name
    directory.mkdir(parents=True)
    tiny_image(paths, busybox_root)
    found = Stack(directory, paths, stack.image)
    try:
        yield found
    finally:
        found.try_run("down", "--volumes", "--remove-orphans", "--timeout", "0")


def kill_helpers(stack: Stack, *, monitors: bool) -> None:
    """`kill -9` the project's keeper, or every process of ours around its containers."""
    keeper = int(read_json(f"{stack.paths.project_run(stack.name)}/keeper.json")["pid"])
    pids = [keeper]
    if monitors:
        with open(f"/proc/{keeper}/task/{keeper}/children") as file:
            pids += map(int, file.read().split())
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # nobody is there to replace anybody
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


TWINS = """
services:
  web:
    image: IMAGE
    command: [httpd, -f, -p, "80", -h, /bin]
    mem_limit: 32m
    ports: [80]
  below: {image: IMAGE, command: [sleep, infinity], cgroup_parent: PARENT, networks: [inner]}
networks: {inner: {internal: true}}
"""


def started(stack: Stack) -> dict[str, tuple[int, int]]:
    """Number and start time of every process 1, by container."""
    states = {name: read_json(f"{stack.paths.container(one)}/state.json") for name, one in all_ids(stack)}
    return {name: (state["pid"], state["start_time"]) for name, state in states.items()}


def all_ids(stack: Stack) -> list[tuple[str, str]]:
    return [(name, str(one["ID"])) for name, one in stack.ps("--all", "--no-trunc").items()]


def limits(processes: dict[str, tuple[int, int]]) -> list[str]:
    """The memory limit of the control group that each process is in."""
    found = []
    for pid, _ in processes.values():
        group = cgroups.of_process(pid).path
        version_2 = cgroups.version() == 2
        name = f"{group}/memory.max" if version_2 else f"memory/{group}/memory.limit_in_bytes"
        found.append(common.read(f"{common.ROOT}/{name}"))
    return found


@pytest.mark.parametrize("monitors", [False, True], ids=["keepers", "all helpers"])
def test_the_same_project_of_two_data_directories(stack: Stack, twin: Stack, monitors: bool) -> None:
    """`down` of one leaves the other its processes, limits, network and ports, whatever was killed."""
    parent, _base = parent_of(stack)
    for one in (stack, twin):
        one.write(TWINS.replace("PARENT", parent))
        one.up()
    before = started(twin)
    kept = limits(before)
    assert "33554432\n" in kept
    for one in (stack, twin):
        kill_helpers(one, monitors=monitors)
    stack.run("down", "-t", "0")
    assert limits(before) == kept
    twin.up()
    assert started(twin) == before
    gateway = twin.shell("web", "ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'")
    assert "1 packets received" in twin.shell("web", f"ping -c 1 {gateway}")
    if not monitors:  # else the listening sockets died with their last holder
        port = int(twin.run("port", "web", "80").strip().rpartition(":")[2])
        assert answer(port, b"GET /true HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
    twin.run("down", "-t", "0")
