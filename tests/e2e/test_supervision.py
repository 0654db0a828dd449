"""What keeps a stack running and seen: restart policies, health checks in every form, attach, annotations."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from compose.runtime import records
from compose.state.index import Index
from tests.support.containers import wait_for

if TYPE_CHECKING:
    from compose.runtime.spec import ContainerState, Health
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


def test_a_policy_of_deploy_is_kept_in_the_place_of_the_other(stack: Stack) -> None:
    stack.write("""
x-failing: &failing {image: IMAGE, command: sh -c 'exit 3', restart: always}
services:
  none: {<<: *failing, deploy: {restart_policy: {condition: none}}}
  well: {<<: *failing, command: 'true', deploy: {restart_policy: {condition: on-failure}}}
  twice: {<<: *failing, deploy: {restart_policy: {condition: on-failure, max_attempts: 2, delay: 0s}}}
  long: {<<: *failing, deploy: {restart_policy: {max_attempts: 1, window: 1us, delay: 0s}}}
  always: {<<: *failing, deploy: {restart_policy: {condition: always, delay: 0s}}}
""")
    stack.up()
    for service, count in (("none", 0), ("well", 0), ("twice", 2)):
        assert until(stack, service, status="exited")["restart_count"] == count
    for service in ("long", "always"):  # runs that are longer than the window count for nothing
        at_least(stack, service, 4)
    assert "stopped" not in stack.run("stop", "-t", "0")


def at_least(stack: Stack, service: str, restarts: int) -> None:
    """Wait until a service's container has been started so often."""
    one = identity(stack, service)
    wait_for(
        stack.paths.container(one),
        lambda: records.recorded_state(stack.paths, one)["restart_count"] >= restarts,
    )


def test_a_health_check_is_probed_as_often_as_it_says(stack: Stack) -> None:
    stack.write("""
x-after-15: &after {test: 'echo >> /n; test $$(wc -l < /n) -ge 15', start_period: 1h, interval: 1h}
x-bad: &bad {test: 'echo >> /n; exit 3', interval: 0.1s}
services:
  quick: {image: IMAGE, command: sleep 1000, healthcheck: {<<: *after, start_interval: 50ms}}
  slow: {image: IMAGE, command: sleep 1000, healthcheck: *after}
  hanging: {image: IMAGE, command: sleep 1000, healthcheck: {test: sleep 99, timeout: 0.1s, interval: 0.1s}}
  failing: {image: IMAGE, command: sleep 1000, healthcheck: {<<: *bad, retries: 1000}}
  early:
    image: IMAGE
    command: sleep 1000
    healthcheck: {<<: *bad, retries: 1, start_period: 1h, start_interval: 0.1s}
""")
    stack.up()
    becomes(stack, "quick", "healthy")
    # Between these two lie ten seconds, however slow the machine is.
    assert int(stack.shell("slow", "wc -l < /n")) < 15
    hanging = becomes(stack, "hanging", "unhealthy")
    assert "exceeded its timeout of 0.1 s" in hanging["log"][-1]["output"]
    for service in ("failing", "early"):
        stack.shell(service, "until test $(wc -l < /n) -ge 6; do sleep 0.05; done 2>/dev/null")
        assert becomes(stack, service, "starting")["log"][-1]["exit_code"] == 3


def becomes(stack: Stack, service: str, status: str) -> Health:
    """Wait until a service's health is as wanted."""
    one = identity(stack, service)
    found: list[Health] = []

    def look() -> bool:
        health = records.recorded_state(stack.paths, one)["health"]
        found[:] = [health] if health is not None and health["status"] == status else []
        return bool(found)

    wait_for(stack.paths.container(one), look)
    return found[0]


def test_a_health_check_may_be_written_in_every_form(stack: Stack) -> None:
    stack.write(
        "FROM IMAGE\nHEALTHCHECK --interval=1h CMD test -e /of-image && echo of the image\n", "Dockerfile"
    )
    stack.write("""
x-quick: &quick {interval: 1h, timeout: 5m}
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
    healthcheck: {test: test -e /well, interval: 0.1s, retries: 5}
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
