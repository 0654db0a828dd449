"""create, start, stop, restart, kill, pause, rm, scale, wait: what becomes of containers that are there."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Lines
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    import subprocess

    from tests.support.command import Stack

TWO = """
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    depends_on: {db: {condition: service_started, restart: true}}
  db:
    image: IMAGE
    command: [sh, -c, "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.1; done"]
    volumes: [/anonymous]
"""


def states(stack: Stack) -> dict[str, str]:
    """Service -> its state; several containers of one count as one."""
    return {str(one["Service"]): str(one["State"]) for one in stack.ps("--all").values()}


def began(stack: Stack, service: str) -> str:
    """When process 1 of a service started."""
    return stack.shell(service, "cut -d ' ' -f 22 /proc/1/stat")


def until_it_waits(process: subprocess.Popen[str]) -> None:
    """Return when a ``wait`` has chosen its containers: it has a thread for each."""
    while len(os.listdir(f"/proc/{process.pid}/task")) < 2:
        assert process.poll() is None
        time.sleep(0.01)


def test_create_starts_nothing_and_start_starts_what_is_needed(stack: Stack) -> None:
    stack.write(TWO)
    stack.run("create")
    assert states(stack) == {"web": "created", "db": "created"}
    before = stack.ids()
    stack.run("start", "db")
    assert states(stack) == {"web": "created", "db": "running"}
    stack.run("start", "web", "--wait")
    assert states(stack) == {"web": "running", "db": "running"}
    assert stack.ids() == before


def test_start_does_not_create(stack: Stack) -> None:
    stack.write(TWO)
    assert "service db has no container to start" in stack.fails("start")
    assert stack.ps("--all") == {}
    stack.run("stop")
    assert not os.path.exists(f"{stack.paths.locks}/{stack.name}.lock")


def test_stop_waits_for_dependents_and_start_brings_back_the_same_container(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    stack.shell("db", "echo kept >/anonymous/file; echo kept >/file")
    before = stack.ids()
    said = stack.try_run("stop").err.splitlines()
    assert said.index(f" Container {stack.name}-web-1  Stopped") < said.index(
        f" Container {stack.name}-db-1  Stopping"
    )
    assert states(stack) == {"web": "exited", "db": "exited"}
    stack.run("start")
    assert stack.ids() == before
    assert stack.shell("db", "cat /anonymous/file /file") == "kept\nkept"


def test_stop_and_start_need_no_compose_file(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    said = stack.try_run("-p", stack.name, "stop", elsewhere=True)
    assert said.code == 0
    lines = said.err.splitlines()
    assert lines[0] == f" Container {stack.name}-web-1  Stopping"
    assert states(stack) == {"web": "exited", "db": "exited"}
    assert stack.try_run("-p", stack.name, "start", elsewhere=True).code == 0
    assert states(stack) == {"web": "running", "db": "running"}


def test_restart_takes_along_who_asked_for_it(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    web, db = began(stack, "web"), began(stack, "db")
    stack.run("restart", "--no-deps", "db")
    assert began(stack, "web") == web and began(stack, "db") != db
    db = began(stack, "db")
    stack.run("restart", "db")
    assert began(stack, "web") != web and began(stack, "db") != db


def test_restart_brings_an_exited_service_back_up(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    stack.run("stop", "-t", "0", "web")
    stack.run("restart")
    assert states(stack) == {"web": "running", "db": "running"}


def test_who_follows_a_service_goes_on_over_its_restart(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: IMAGE, command: [sh, -c, "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done"]}
""")
    with stack.start("up") as process:
        lines = Lines(process.stdout)
        lines.expect("web-1  | up")
        stack.run("restart")
        lines.expect("web-1  | up")
        process.send_signal(signal.SIGINT)
        assert process.wait(MOMENT) == 130


def test_a_restart_that_fails_says_why(stack: Stack) -> None:
    stack.write("FROM IMAGE\nCOPY --chmod=755 program /\n", "Dockerfile")
    stack.write("#!/bin/sh\nexec sleep infinity\n", "program")
    stack.write("services: {web: {build: ., command: [/program]}}")
    stack.up()
    stack.shell("web", "rm /program")
    assert "/program" in stack.fails("restart")
    assert states(stack) == {"web": "exited"}


def test_a_restarted_service_gets_its_port_again(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: IMAGE, command: [sleep, infinity], ports: ["127.0.0.1::80"]}
""")
    stack.up()
    (before,) = stack.ps().values()
    stack.run("restart")
    (after,) = stack.ps().values()
    assert before["Publishers"] == after["Publishers"] != []


def test_kill_sends_the_signal_and_waits_for_the_end(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    stack.until_written("hello", "db")
    stack.run("kill", "-s", "SIGTERM", "db")
    with stack.start("wait", "db") as process:
        process.wait(MOMENT)
    assert "bye" in stack.run("logs", "db")
    stack.run("kill")
    codes = {str(one["Service"]): one["ExitCode"] for one in stack.ps("--all").values()}
    assert codes == {"web": 137, "db": 0}
    done = stack.try_run("kill")
    assert (done.code, done.err) == (0, "no container to kill\n")
    assert "no such signal" in stack.fails("kill", "-s", "BOGUS")


def test_a_paused_container_stands_still_and_can_be_stopped(stack: Stack) -> None:
    stack.write("""
services:
  clock: {image: IMAGE, command: [sh, -c, "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done"]}
  other: {image: IMAGE, command: [sleep, infinity]}
""")
    stack.up()
    stack.until_written("ready", "clock")
    stack.run("pause", "clock")
    assert states(stack) == {"clock": "paused", "other": "running"}
    assert "paused" in stack.fails("exec", "-T", "clock", "true")
    assert "paused already" in stack.fails("pause", "clock")
    assert "not paused" in stack.fails("unpause")
    assert states(stack) == {"clock": "running", "other": "running"}
    stack.run("pause")
    assert "is paused" in stack.fails("start")
    assert f"unpause container {stack.name}-other-1  (it is paused)" in stack.run("up", "--dry-run")
    stack.run("restart", "other")
    assert states(stack) == {"clock": "paused", "other": "running"}
    stack.run("pause", "other")
    stack.run("stop", "clock")
    assert stack.ps("--all")[f"{stack.name}-clock-1"]["ExitCode"] == 7
    stack.run("kill", "other")
    assert states(stack) == {"clock": "exited", "other": "exited"}


def test_rm_removes_what_has_stopped_when_it_may(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    done = stack.try_run("rm", "-f")
    assert (done.code, done.err) == (0, "No stopped containers\n")
    stack.run("stop", "web")
    asked = stack.try_run("rm", stdin="n\n")
    assert asked.out.startswith(f"Going to remove {stack.name}-web-1\n") and asked.code == 0
    assert states(stack) == {"web": "exited", "db": "running"}
    stack.run("rm", stdin="y\n")
    assert states(stack) == {"db": "running"}
    assert stack.run("rm", "-s", "-f", "-v") == f"Going to remove {stack.name}-db-1\n"
    assert states(stack) == {}


def test_scale_makes_and_removes_containers(stack: Stack) -> None:
    stack.write("services: {web: {image: IMAGE, command: [sleep, infinity]}}")
    stack.run("scale", "web=3")
    assert len(stack.ps()) == 3
    stack.run("scale", "web=1")
    assert list(stack.ps("--all")) == [f"{stack.name}-web-1"]
    stack.fails("scale", "web", code=2)


def test_wait_ends_with_the_container_and_as_it_did(stack: Stack) -> None:
    stack.write("services: {job: {image: IMAGE, command: [sh, -c, 'mkfifo /go; read line </go; exit 3']}}")
    stack.up()
    (identity,) = stack.ids().values()
    with stack.start("wait", "job") as process:
        until_it_waits(process)
        stack.shell("job", "while ! echo >/go; do :; done")
        out, _ = process.communicate(timeout=MOMENT)
    assert process.returncode == 3
    assert out.startswith(f'container "{identity}') and out.endswith("exited with status code 3\n")
    assert "no container of job runs" in stack.fails("wait", "job")


def test_wait_can_take_the_project_down(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    with stack.start("wait", "--down-project", "db", "web") as process:
        until_it_waits(process)
        stack.run("kill", "web")
        assert process.wait(MOMENT) == 137
    assert stack.ps("--all") == {}


def test_every_change_can_be_planned_only(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    before = stack.ids(), began(stack, "db"), began(stack, "web")
    plans = {
        ("stop",): f"stop container {stack.name}-web-1",
        ("restart", "db"): f"restart container {stack.name}-web-1  (db is restarted)",
        ("kill", "-s", "HUP"): f"kill container {stack.name}-db-1  (HUP)",
        ("pause",): f"pause container {stack.name}-db-1",
        ("rm", "-s"): f"remove container {stack.name}-db-1",
        ("scale", "web=2"): f"create container {stack.name}-web-2",
        ("wait", "db"): f"wait for the end of {stack.name}-db-1",
        ("start",): "nothing to do",
    }
    for command, plan in plans.items():
        assert plan in stack.run(*command, "--dry-run")
    assert (stack.ids(), began(stack, "db"), began(stack, "web")) == before


@pytest.mark.parametrize("command", ["start", "stop", "restart", "kill", "pause", "unpause", "rm", "create"])
def test_a_service_that_nobody_knows_is_a_mistake(stack: Stack, command: str) -> None:
    stack.write(TWO)
    assert "no such service: nosuch" in stack.fails(command, "nosuch", code=2)


def test_abort_on_container_exit_stops_the_others_and_exits_as_the_first(stack: Stack) -> None:
    # The job ends when its neighbour listens for the signal that it then gets.
    listens = TWO.replace("echo hello;", "touch /ready; echo hello;").replace(
        "volumes:", "healthcheck: {test: test -e /ready}\n    volumes:"
    )
    stack.write(
        f"{listens}  job:\n    image: IMAGE\n    command: [sh, -c, 'echo done; exit 5']\n"
        "    depends_on: {db: {condition: service_healthy}}\n"
    )
    done = stack.try_run("up", "--abort-on-container-exit")
    assert done.code == 5
    assert "Aborting on container exit..." in done.err
    assert set(states(stack).values()) == {"exited"}
    done = stack.try_run("up", "--exit-code-from", "db")
    assert done.code == 0 and "job-1 exited with code 5" in done.out


def test_abort_on_container_failure_lets_a_success_pass(stack: Stack) -> None:
    stack.write("""
services:
  good: {image: IMAGE, command: ["true"]}
  bad:
    image: IMAGE
    command: [sh, -c, exit 6]
    depends_on: {good: {condition: service_completed_successfully}}
  web: {image: IMAGE, command: [sleep, infinity]}
""")
    assert stack.try_run("up", "--abort-on-container-failure").code == 6
    assert set(states(stack).values()) == {"exited"}


def test_a_success_that_others_wait_for_aborts_nothing(stack: Stack) -> None:
    stack.write("""
services:
  first: {image: IMAGE, command: ["true"]}
  tests:
    image: IMAGE
    command: [sh, -c, "echo tested; exit 4"]
    depends_on: {first: {condition: service_completed_successfully}}
""")
    done = stack.try_run("up", "--abort-on-container-exit")
    assert done.code == 4 and "tests-1  | tested" in done.out


def test_up_of_one_service_shows_and_stops_only_that_one(stack: Stack) -> None:
    stack.write(TWO)
    with stack.start("up", "--attach-dependencies", "web") as process:
        Lines(process.stdout).expect("db-1   | hello")
        process.send_signal(signal.SIGINT)
        assert process.wait(MOMENT) == 130
    assert states(stack) == {"web": "exited", "db": "running"}
    with stack.start("up", "web") as process:
        assert Lines(process.stdout).expect("Attaching to") == "Attaching to web-1"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=MOMENT)
    assert "hello" not in out


def test_force_recreate_leaves_dependencies_alone_unless_told(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    web, db = f"{stack.name}-web-1", f"{stack.name}-db-1"
    first = stack.ids()
    stack.up("--force-recreate", "web")
    second = stack.ids()
    assert second[web] != first[web] and second[db] == first[db]
    stack.up("--always-recreate-deps", "web")
    assert stack.ids()[db] != first[db]


def test_progress_is_told_as_json_and_where_it_is_wanted(stack: Stack) -> None:
    stack.write("services: {web: {image: IMAGE, command: [sleep, infinity]}}")
    stack.environment["COMPOSE_STATUS_STDOUT"] = "1"
    done = stack.try_run("--progress", "json", "--parallel", "1", "up", "-d")
    said = [json.loads(line) for line in done.out.splitlines()]
    assert {"id": f"Container {stack.name}-web-1", "status": "Started"} in said
    assert done.err == ""


def test_orphans_are_removed_or_not_spoken_of_as_the_environment_says(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    stack.write("services: {db: {image: IMAGE, command: [sleep, infinity]}}")
    stack.environment["COMPOSE_IGNORE_ORPHANS"] = "true"
    assert "not in the file" not in stack.up("--no-recreate")
    assert "exclude" in stack.fails("up", "-d", "--remove-orphans", code=2)
    stack.environment.clear()
    assert "not in the file" in stack.up("--no-recreate")
    stack.environment["COMPOSE_REMOVE_ORPHANS"] = "1"
    stack.up("--no-recreate")
    assert states(stack) == {"db": "running"}
