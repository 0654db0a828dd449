"""`kill -9` at any moment: the next `up -d` and `down` work and leave nothing."""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from compose.runtime.client import Keeper
from compose.state.files import read_json
from tests.e2e.test_resources import groups_called, parent_of
from tests.support.chance import SEED
from tests.support.containers import wait_for
from tests.support.patience import MOMENT
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.support.command import Stack

STACK = """
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    depends_on: [db]
    networks: [front, back]
  db:
    image: IMAGE
    command: [sleep, infinity]
    volumes: [data:/data]
    networks: [back]
networks: {front: {}, back: {}}
volumes: {data: {}}
"""
MOMENTS = int(os.environ.get("PYCOMPOSE_TEST_KILLS", "4"))
"""Kills of each kind; more of them where somebody has the time: ``PYCOMPOSE_TEST_KILLS=100 pytest ...``."""


COMMANDS = {
    "up": ("up", "-d"),
    "down": ("down", "--volumes"),
    "run": ("run", "--rm", "-T", "db", "true"),
    "exec": ("exec", "-T", "db", "true"),
    "restart": ("restart", "-t", "0"),
    "build": ("build", "--no-cache"),
}
UP_BEFORE = ("down", "run", "exec", "restart")


def duration(stack: Stack, *arguments: str) -> float:
    """How long a command takes here and now."""
    begin = time.monotonic()
    stack.run(*arguments)
    return time.monotonic() - begin


def killed_after(stack: Stack, seconds: float, *arguments: str) -> None:
    """Run a command and kill it, and nothing else, after a while; it may have ended before."""
    with stack.start(*arguments) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)  # the moment is the point here, not an event
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=MOMENT)


@pytest.mark.timeout(600 + 300 * MOMENTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_at_any_moment_leaves_nothing_that_the_next_cannot_remove(
    stack: Stack, name: str
) -> None:
    stack.write(STACK.replace("image: IMAGE", "build: .", 1))
    stack.write("FROM IMAGE\nRUN echo built > /built\n", "Dockerfile")
    command = COMMANDS[name]
    if name in UP_BEFORE:
        stack.up()
    seconds = duration(stack, *command)
    stack.run("down", "--volumes")
    generator = random.Random(SEED)
    for moment in range(MOMENTS):
        if name in UP_BEFORE:
            stack.up()
        part = (moment + generator.random()) / MOMENTS
        killed_after(stack, part * seconds, *command)
        stack.up()
        there = stack.ps("--all")
        assert {one["State"] for one in there.values()} == {"running"}, there
        assert stack.shell("web", "nslookup db >/dev/null && echo found") == "found"
        stack.run("down", "--volumes")
        assert stack.ps("--all") == {}


def test_down_alone_is_enough_after_a_killed_up(stack: Stack) -> None:
    stack.write(STACK)
    seconds = duration(stack, "up", "-d")
    stack.run("down", "--volumes")
    for part in (0.3, 0.5, 0.7, 0.9):
        killed_after(stack, part * seconds, "up", "-d")
        stack.run("down", "--volumes")
        assert stack.ps("--all") == {}


def kill_keeper(stack: Stack) -> None:
    """End the project's keeper as the kernel does when there is no memory left."""
    record = read_json(f"{stack.paths.project_run(stack.name)}/keeper.json")
    pidfd = os.pidfd_open(record["pid"])
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [])
    os.close(pidfd)


def test_names_resolve_although_the_keeper_died_before_anything_ran(stack: Stack) -> None:
    stack.write(STACK)
    stack.run("up", "--no-start")
    kill_keeper(stack)
    stack.up()
    assert stack.shell("web", "nslookup db >/dev/null && echo found") == "found"
    assert stack.shell("db", "nslookup web >/dev/null && echo found") == "found"


def helpers(stack: Stack) -> dict[str, list[int]]:
    """The processes of the project that are there now, by what they are called."""
    found: dict[str, list[int]] = {}
    directory = stack.paths.project_run(stack.name)
    try:
        keeper = read_json(f"{directory}/keeper.json")["pid"]
        with open(f"/proc/{keeper}/task/{keeper}/children") as file:
            children = [int(number) for number in file.read().split()]
    except (OSError, ValueError, KeyError):
        return found
    found["keeper"] = [keeper]
    for child in children:
        with contextlib.suppress(OSError), open(f"/proc/{child}/comm") as file:
            prefix, _, name = file.read().strip().partition("-")
            if prefix == "pc":  # else a container's own process, whose monitor has just been killed
                found.setdefault(name[:4], []).append(child)
    return found


def kill_one(stack: Stack, generator: random.Random) -> None:
    """`kill -9` one of the keeper, netd and the monitors."""
    there = helpers(stack)
    if there:
        victim = generator.choice(there[generator.choice(sorted(there))])
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


@pytest.mark.timeout(600 + 300 * MOMENTS)
def test_helpers_killed_while_commands_work(stack: Stack) -> None:
    """Whatever such a command says, the next ones put everything right."""
    stack.write(STACK)
    seconds = duration(stack, "up", "-d")
    generator = random.Random(SEED)
    for moment in range(MOMENTS):
        command = ("up", "-d", "--force-recreate") if moment % 2 else ("down", "-t", "0")
        with stack.start(*command) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(generator.random() * seconds)
            kill_one(stack, generator)
            process.communicate(timeout=MOMENT)
        stack.up()
        kill_one(stack, generator)
        assert {one["State"] for one in stack.ps().values()} == {"running"}
        assert stack.shell("web", "nslookup db >/dev/null && echo found") == "found"
    stack.run("down", "--volumes", "-t", "0")
    assert stack.ps("--all") == {}


def kill_everything(stack: Stack) -> None:
    """As a kernel that is out of memory does: nobody is left who could replace anybody."""
    keeper = int(read_json(f"{stack.paths.project_run(stack.name)}/keeper.json")["pid"])
    with open(f"/proc/{keeper}/task/{keeper}/children") as file:
        pids = [keeper, *map(int, file.read().split())]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids[1:]:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                pids += map(int, file.read().split())
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_down_is_enough_when_everything_was_killed_at_once(stack: Stack) -> None:
    stack.write("services:\n  one: {image: IMAGE, command: sleep 1000}\n")
    stack.up()
    kill_everything(stack)
    stack.run("down")


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
def test_a_group_that_was_named_goes_too_when_everything_was_killed(stack: Stack, damaged: bool) -> None:
    named, _base = parent_of(stack)
    stack.write(f"services:\n  one: {{image: IMAGE, command: sleep 1000, cgroup_parent: {named}}}\n")
    stack.up()
    ((_name, one),) = stack.ps("--no-trunc").items()
    identity = one["ID"]
    kill_everything(stack)
    if damaged:
        os.truncate(f"{stack.paths.container(identity)}/spec.json", 10)
    stack.run("down")
    assert groups_called(identity) == []
    if not named.endswith(".slice"):  # slices are systemd's
        assert groups_called(f"{stack.name}-parent") == []


def test_netd_alone_brings_keeper_monitor_and_ports_back(stack: Stack) -> None:
    """Keeper and monitor of the only container are killed together: within moments all is as it was."""
    port = free_port()
    stack.write(f"""
services:
  one:
    image: IMAGE
    command: httpd -f -p 80 -h /bin
    ports: ["127.0.0.1:{port}:80"]
    healthcheck:
      {{test: wget -q -O /dev/null http://127.0.0.1/true, start_period: 300s, start_interval: 100ms}}
""")
    stack.run("up", "--wait")  # a server that does not listen yet resets the first connection
    ((_name, one),) = stack.ps("--no-trunc").items()
    record = f"{stack.paths.container(one['ID'])}/state.json"
    former = read_json(record)
    there = helpers(stack)
    (keeper,) = there.pop("keeper")
    for pid in (keeper, former["monitor_pid"]):
        os.kill(pid, signal.SIGSTOP)
    for pid in (keeper, former["monitor_pid"]):
        os.kill(pid, signal.SIGKILL)
    wait_for(os.path.dirname(record), lambda: read_json(record)["monitor_pid"] != former["monitor_pid"])
    name, deadline = f"listen/{one['ID']}/", time.monotonic() + MOMENT
    while not any(found.startswith(name) for found in Keeper(stack.paths, stack.name).names()):
        assert time.monotonic() < deadline, "the port was not given back"
        time.sleep(0.01)
    with socket.create_connection(("127.0.0.1", port), timeout=MOMENT) as client:
        client.sendall(b"GET /nothing HTTP/1.0\r\n\r\n")
        assert b"404" in client.recv(100)
    assert read_json(record)["pid"] == former["pid"]
