"""`events` tells what happens to containers, whoever did it, and remembers it."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

from compose.runtime.records import recorded_state
from tests.support.command import Lines
from tests.support.network_lab import until
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from tests.support.command import Stack

ONE = """
services:
  box:
    image: IMAGE
    command: [sleep, infinity]
    stop_grace_period: 0s
  other: {image: IMAGE, command: [sleep, infinity], stop_grace_period: 0s}
"""


def told(stack: Stack, *arguments: str) -> list[dict[str, Any]]:
    """What has happened so far."""
    out = stack.run("events", "--json", "--since", "1h", "--until", str(time.time() + 0.001), *arguments)
    return [json.loads(line) for line in out.splitlines()]


def identity(stack: Stack) -> str:
    """The whole id of the container of ``box``."""
    return stack.run("ps", "-q", "box").strip()


def test_the_life_of_a_container_is_told_as_it_happens(stack: Stack) -> None:
    stack.write(ONE)
    process = stack.start("events", "box")
    try:
        stack.up()
        stack.try_run("exec", "-T", "box", "sh", "-c", "exit 3")
        stack.run("pause", "box")
        stack.run("unpause", "box")
        stack.run("restart", "box")
        stack.run("kill", "-s", "USR1", "other")
        stack.run("kill", "box")
        stack.run("down")
        line = Lines(process.stdout).expect("container destroy")
        assert f"(image={stack.image}, name={stack.name}-box-1)" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(MOMENT) == 130
    finally:
        process.kill()
        process.communicate()
    actions = [event["action"] for event in told(stack, "box")]
    assert actions == [
        *("create", "start", "exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die"),
        *("pause", "unpause", "kill", "kill", "die", "stop", "start", "restart", "kill", "die", "destroy"),
    ]


def test_events_say_what_they_are_about(stack: Stack) -> None:
    stack.write(ONE)
    stack.up()
    stack.run("exec", "-T", "box", "sh", "-c", "exit 0")
    stack.run("kill", "box")
    (name,) = [
        name
        for name in os.listdir(stack.paths.containers)
        if name.startswith(stack.ids()[f"{stack.name}-box-1"])
    ]
    by_action = {event["action"].partition(":")[0]: event for event in told(stack, "box")}
    assert by_action["exec_die"]["attributes"]["exitCode"] == "0"
    assert by_action["die"]["attributes"] == {
        "exitCode": "137",
        "image": stack.image,
        "name": f"{stack.name}-box-1",
    }
    assert by_action["kill"]["attributes"]["signal"] == "9"
    assert {event["id"] for event in by_action.values()} == {name}
    assert by_action["start"]["type"] == "container" and by_action["start"]["time"].endswith("Z")


def test_what_a_monitor_that_was_killed_would_have_told_its_successor_tells(stack: Stack) -> None:
    stack.write(ONE)
    stack.up()
    (name,) = [
        name
        for name in os.listdir(stack.paths.containers)
        if name.startswith(stack.ids()[f"{stack.name}-box-1"])
    ]
    state = recorded_state(stack.paths, name)
    os.kill(state["monitor_pid"], signal.SIGKILL)
    os.kill(state["pid"], signal.SIGKILL)
    stack.try_run("wait", "box")  # its end may be read off before the successor has told it
    die = until(lambda: [event for event in told(stack, "box") if event["action"] == "die"])
    assert [event["attributes"]["exitCode"] for event in die] == ["137"]


def test_times_bound_what_is_told(stack: Stack) -> None:
    stack.write(ONE)
    stack.up()
    now = str(time.time())
    stack.run("kill", "box")
    later = str(time.time())
    stack.run("down")
    between = stack.run("events", "--since", now, "--until", later, "box").splitlines()
    assert [line.split()[3] for line in between][:1] == ["kill"]
    assert "destroy" not in "".join(between)
    assert stack.run("events", "--until", "1s") == ""
    assert "not a time" in stack.fails("events", "--since", "yesterday", code=2)
