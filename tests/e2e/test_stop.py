"""Stopping: how long it takes, and that nothing is left of what a container has started."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.command import PATIENCE

if TYPE_CHECKING:
    from tests.support.command import Stack


def host_processes(mark: str) -> list[int]:
    """The processes of this machine that have `mark` in their command line."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if mark.encode() in file.read():
                    found.append(int(name))
        except OSError:
            continue
    return found


# Process 1 catches the signal and goes on; children in the background, one in a session of its own, one that
# has lost its parent, one that ignores the signal.
TREE = """
services:
  tree:
    image: IMAGE
    stop_grace_period: 1s
    command:
      - sh
      - -c
      - |
        trap 'echo asked' TERM
        sleep MARK &
        setsid sleep MARK &
        (sleep MARK & (trap '' TERM; sleep MARK) &)
        while :; do sleep 0.1; done
"""


@pytest.mark.parametrize("command", [("stop",), ("restart", "-t", "0"), ("kill",), ("down", "-t", "0")])
def test_nothing_is_left_of_a_tree_of_processes(stack: Stack, command: tuple[str, ...]) -> None:
    mark = f"7{os.getpid()}.{abs(hash(command)) % 100000}"
    stack.write(TREE.replace("MARK", mark))
    stack.up()
    before = host_processes(f"sleep\0{mark}")
    while len(before) < 4:
        before = host_processes(f"sleep\0{mark}")
    stack.run(*command)
    assert not set(before) & set(host_processes(mark))


def test_containers_stop_at_the_same_time(stack: Stack) -> None:
    service = "{image: IMAGE, stop_grace_period: 1s, command: [sh, -c, \"trap 'echo' TERM; echo ready; %s\"]}"
    loop = "while :; do sleep 0.1; done"
    names = ("a", "b", "c", "d")
    stack.write("services:\n" + "".join(f"  {name}: {service % loop}\n" for name in names))
    stack.up()
    stack.until_written("ready", times=len(names))
    said = stack.try_run("stop").err.splitlines()
    first_done = next(place for place, line in enumerate(said) if line.endswith("Stopped"))
    assert sum(line.endswith("Stopping") for line in said[:first_done]) == len(names)
    codes = {str(one["Service"]): one["ExitCode"] for one in stack.ps("--all").values()}
    assert codes == dict.fromkeys(names, 137)


@pytest.mark.parametrize(
    "command", ["exec sleep infinity", "trap '' TERM; while :; do sleep 1; done"], ids=["default", "ignored"]
)
def test_process_1_that_would_never_hear_of_it_is_stopped_at_once(stack: Stack, command: str) -> None:
    stack.write(f"""
services:
  deaf: {{image: IMAGE, stop_grace_period: 10m, command: [sh, -c, "{command}"]}}
""")
    stack.up()
    stack.run("stop", patience=300)
    (found,) = stack.ps("--all").values()
    assert (found["State"], found["ExitCode"]) == ("exited", 137)


def test_the_stop_signal_is_the_services_and_time_is_given_by_hand(stack: Stack) -> None:
    stack.write("""
services:
  polite:
    image: IMAGE
    stop_signal: SIGUSR1
    stop_grace_period: 10m
    command: [sh, -c, "trap 'exit 4' USR1; trap 'echo' TERM; echo ready; while :; do sleep 0.1; done"]
  slow:
    image: IMAGE
    stop_grace_period: 10m
    command: [sh, -c, "trap 'echo' TERM; echo ready; while :; do sleep 0.1; done"]
""")
    stack.up()
    stack.until_written("ready", times=2)
    stack.run("stop", "-t", "2", patience=300)
    codes = {str(one["Service"]): one["ExitCode"] for one in stack.ps("--all").values()}
    assert codes == {"polite": 4, "slow": 137}


@pytest.mark.parametrize("command", ["stop", "down", "kill"])
def test_nothing_that_is_stopped_is_restarted(stack: Stack, command: str) -> None:
    stack.write("""
services:
  loop: {image: IMAGE, restart: always, command: [sh, -c, "sleep 0.1"]}
  steady: {image: IMAGE, restart: always, command: [sleep, infinity]}
""")
    stack.up()
    while stack.ps()[f"{stack.name}-loop-1"]["State"] != "restarting":
        pass
    stack.run(command)
    found = {one["State"] for one in stack.ps("--all").values()}
    assert found == (set() if command == "down" else {"exited"})


# Process 1 stops whatever else is in its pid namespace, as fast as it can.
STOPPING = """
services:
  web:
    image: IMAGE
    command: [sh, -c, "while :; do kill -STOP -1 2>/dev/null; done"]
    stop_grace_period: 0s
    healthcheck: {test: [CMD, sleep, "9"], interval: 100ms, timeout: 300ms, retries: 2, start_interval: 100ms}
"""


@pytest.mark.parametrize("traces", [False, True], ids=["plain", "tracer"])
@pytest.mark.parametrize("command", ["kill", "restart", "stop", "down"])
def test_a_container_that_stops_all_that_enters_it_holds_nobody_up(
    stack: Stack, command: str, traces: bool
) -> None:
    """Its probes time out one after the other, and what is asked of its monitor is done."""
    stack.write(STOPPING + ("    cap_add: [SYS_PTRACE]\n" if traces else ""))
    assert "unhealthy" in stack.fails("up", "-d", "--wait")
    with stack.start("exec", "-T", "web", "sleep", "1000") as entering:
        assert {one["State"] for one in stack.ps().values()} == {"running"}
        stack.run(command)
        if command == "restart":  # it may have come into the new run
            entering.kill()
        entering.communicate(timeout=PATIENCE)
    states = {one["State"] for one in stack.ps("--all").values()}
    assert states == {"kill": {"exited"}, "restart": {"running"}, "stop": {"exited"}, "down": set()}[command]


# Whoever is born in its pid namespace is stopped on his way, before he has executed his program.
SHARING = """
services:
  owner:
    image: IMAGE
    command: [sh, -c, "while :; do kill -STOP -1 2>/dev/null; done"]
    stop_grace_period: 0s
  guest:
    image: IMAGE
    command: [sleep, infinity]
    pid: service:owner
    stop_grace_period: 0s
"""


def wait_until_stopped(group: str) -> None:
    """Until a process that has a word in the name of its control group is stopped, or traced."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/cgroup") as groups, open(f"/proc/{name}/stat") as status:
                    if group in groups.read() and status.read().rpartition(")")[2].split()[0] in "Tt":
                        return
            except OSError:
                continue
    raise AssertionError("nobody was stopped")


@pytest.mark.parametrize("command", [("stop", "guest"), ("down",), ("kill", "owner")])
def test_a_container_that_shares_processes_with_one_that_stops_them_holds_nobody_up(
    stack: Stack, command: tuple[str, ...]
) -> None:
    """Its start may wait for ever, but not its monitor."""
    stack.write(SHARING)
    stack.up("owner")
    with stack.start("up", "-d", "guest") as starting:
        identity = ""
        while not identity:
            found = (str(one["ID"]) for one in stack.ps("--all").values() if one["Service"] == "guest")
            identity = next(found, "")
        wait_until_stopped(identity[:12])
        starting.terminate()  # a project's commands wait for each other
        stack.run(*command)
        starting.communicate(timeout=PATIENCE)
    states = {str(one["Service"]): one["State"] for one in stack.ps("--all").values()}
    assert states.get("guest") in (None, "exited", "created")


def test_a_container_that_shares_processes_with_a_paused_one_starts(stack: Stack) -> None:
    stack.write("""
services:
  owner: {image: IMAGE, command: [sleep, infinity]}
  guest: {image: IMAGE, command: [sleep, infinity], pid: service:owner, stop_grace_period: 0s}
""")
    stack.up("owner")
    stack.run("pause", "owner")
    stack.up("--no-deps", "guest")
    assert stack.shell("guest", "cat /proc/1/comm") == "sleep"
    stack.run("unpause", "owner")
