"""What keeps a stack running and seen: restart policies, health checks in every form, attach, annotations."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from compose.runtime import records
from compose.state.index import Index
from tests.support.containers import wait_for

if TYPE_CHECKING:
    from compose.runtime.spec import ContainerState
    from tests.support.command import Stack


def identity(stack: Stack, service: str) -> str:
    index = Index(stack.paths)
    try:
        return next(row.id for row in index.containers(stack.name) if row.service == service)
    finally:
        index.close()


def until(stack: Stack, service: str, **wanted: object) -> ContainerState:
    """Wait for a state of a service's container."""
    found: list[ContainerState] = []
    one = identity(stack, service)

    def look() -> bool:
        found[:] = [records.recorded_state(stack.paths, one)]
        return all(found[0].get(key) == value for key, value in wanted.items())

    wait_for(stack.paths.container(one), look)
    return found[0]


def test_containers_are_started_again_as_their_policy_says(stack: Stack) -> None:
    stack.write("""
services:
  always: {image: IMAGE, command: sleep 1000, restart: always}
  never: {image: IMAGE, command: sleep 1000}
  failing: {image: IMAGE, command: sh -c 'exit 3', restart: 'on-failure:2'}
  bounded: {image: IMAGE, command: 'true', deploy: {restart_policy: {max_attempts: 1, delay: 0s}}}
""")
    stack.up()
    for service in ("always", "never"):
        os.kill(until(stack, service, status="running")["pid"], 9)
    again = until(stack, "always", status="running", restart_count=1)
    assert again["started_at"] > 0
    assert until(stack, "never", status="exited")["exit_code"] == 137
    assert until(stack, "failing", status="exited")["restart_count"] == 2
    assert until(stack, "bounded", status="exited")["restart_count"] == 1
    stack.run("stop", "always")
    stopped = until(stack, "always", status="exited")
    assert stopped["stopped_by_user"]


def test_a_health_check_may_be_written_in_every_form(stack: Stack) -> None:
    stack.write(
        "FROM IMAGE\nHEALTHCHECK --interval=1h CMD test -e /of-image && echo of the image\n", "Dockerfile"
    )
    stack.write("""
x-quick: &quick {interval: 1h, timeout: 10s}
services:
  text: {image: IMAGE, command: sleep 1000, healthcheck: {<<: *quick, test: 'echo text | cat'}}
  shell: {image: IMAGE, command: sleep 1000, healthcheck: {<<: *quick, test: [CMD-SHELL, 'echo shell | cat']}}
  words: {image: IMAGE, command: sleep 1000, healthcheck: {<<: *quick, test: [CMD, echo, 'a | b']}}
  image: {build: ., command: sh -c 'touch /of-image; sleep 1000'}
  timing: {build: ., command: sh -c 'touch /of-image; sleep 1000', healthcheck: {interval: 2h}}
  none: {build: ., command: sleep 1000, healthcheck: {test: [NONE]}}
  disabled: {build: ., command: sleep 1000, healthcheck: {disable: true}}
""")
    stack.run("up", "--wait")
    found = {one["Service"]: one["Health"] for one in stack.ps().values()}
    assert found.pop("none") == found.pop("disabled") == ""
    assert set(found.values()) == {"healthy"}
    said = {"text": "text\n", "shell": "shell\n", "words": "a | b\n"}
    for service, output in {**said, "image": "of the image\n", "timing": "of the image\n"}.items():
        health = records.recorded_state(stack.paths, identity(stack, service))["health"]
        assert health is not None
        assert [health["log"][-1][key] for key in ("exit_code", "output")] == [0, output]
    spec = records.read_spec(stack.paths, identity(stack, "timing"))
    assert spec["healthcheck"] is not None
    assert spec["healthcheck"]["interval"] == 7200.0


def test_an_unhealthy_service_is_restarted_when_the_file_asks_for_it(stack: Stack) -> None:
    stack.write("""
services:
  web:
    image: IMAGE
    command: sh -c 'test -e /was && touch /well; touch /was; sleep 1000'
    healthcheck: {test: test -e /well, interval: 0.1s, retries: 2}
    x-restart-on-unhealthy: true
""")
    stack.up()
    until(stack, "web", restart_count=1, status="running")
    (line,) = stack.ps().values()
    assert line["Status"].endswith(", restarted: unhealthy")


def test_a_service_that_is_not_attached_is_only_shown_when_it_is_named(stack: Stack) -> None:
    stack.write("""
services:
  seen: {image: IMAGE, command: echo seen}
  hidden: {image: IMAGE, command: echo hidden, attach: false}
""")
    assert "| hidden" not in stack.run("up")
    assert stack.run("logs", "--no-log-prefix") == "seen\n"
    assert stack.run("logs", "--no-log-prefix", "hidden") == "hidden\n"


def test_annotations_stand_in_the_containers_record(stack: Stack) -> None:
    stack.write("""
services:
  map: {image: IMAGE, command: 'true', annotations: {com.example.a: one, b: 2}}
  list: {image: IMAGE, command: 'true', annotations: [com.example.a=one, b]}
""")
    stack.run("up")
    found = {}
    for service in ("map", "list"):
        with open(f"{stack.paths.container(identity(stack, service))}/spec.json") as file:
            found[service] = json.load(file)["oci"]["annotations"]
    assert found["map"] == {"com.example.a": "one", "b": "2"}
    assert found["list"] == {"com.example.a": "one", "b": ""}
