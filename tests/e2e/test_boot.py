"""After a restart of the machine: what ran comes back, what was stopped by hand does not."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

import pytest

from compose.network.setup.client import fork_setup
from compose.runtime import records
from compose.state.index import Index
from tests.support.containers import wait_for_end
from tests.support.leftovers import cgroup_roots, detach_below
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from tests.support.command import Stack

FILE = """
services:
  db:
    image: IMAGE
    command: sh -c 'echo run >> /kept; hostname > /srv/name; touch /ready; exec sleep 1000'
    restart: always
    healthcheck: {test: test -e /ready}
    volumes: [data:/srv]
  web:
    image: IMAGE
    command: sleep 1000
    restart: unless-stopped
    depends_on: {db: {condition: service_healthy}}
    networks: {default: {aliases: [shop]}}
    ports: ["127.0.0.1::80"]
  worker: {image: IMAGE, command: sleep 1000, restart: on-failure, network_mode: none}
  done: {image: IMAGE, command: 'true', restart: on-failure}
  once: {image: IMAGE, command: sleep 1000}
  stopped: {image: IMAGE, command: sleep 1000, restart: unless-stopped}
  stopped-always: {image: IMAGE, command: sleep 1000, restart: always}
volumes: {data: {}}
"""
BACK = {"db", "web", "worker"}


def reboot(stack: Stack, *, keep_run: bool = False) -> None:
    """What a restart of the machine leaves: the records of another boot, and nothing that was in memory.

    `keep_run`: the run-time directory lies on a disk.
    """
    states = {}
    for identity in os.listdir(stack.paths.containers):
        path = f"{stack.paths.container(identity)}/state.json"
        with open(path) as file:
            states[path] = json.load(file)
    with open(f"{stack.paths.project_run(stack.name)}/keeper.json") as file:
        keeper = json.load(file)["pid"]
    with open(f"/proc/{keeper}/task/{keeper}/children") as file:
        helpers = [keeper, *map(int, file.read().split())]
    for pid in helpers:
        os.kill(pid, signal.SIGSTOP)  # so that nobody replaces another one, or writes down how anything ended
    _kill(helpers)
    _kill([state["pid"] for state in states.values() if state["pid"]])
    with fork_setup(stack.paths) as client:
        assert client.remove_sandbox(stack.name) == []
    remove_groups(stack.host_name)
    for path, state in states.items():
        with open(path, "w") as file:
            json.dump({**state, "boot_id": "another"}, file)
    detach_below(stack.paths.run)
    if not keep_run:
        shutil.rmtree(stack.paths.run)
        os.mkdir(stack.paths.run, mode=0o700)


def remove_groups(project: str) -> None:
    deadline = time.monotonic() + MOMENT
    for root in cgroup_roots():
        for directory, _names, _files in os.walk(f"{root}/pycompose/{project}", topdown=False):
            while True:
                try:
                    os.rmdir(directory)
                    break
                except OSError as error:  # the kernel is about to take the last process out
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    wait_for_end(pids)


def by_service(stack: Stack) -> dict[str, str]:
    return {one["Service"]: one["State"] for one in stack.ps("--all").values()}


def test_what_ran_comes_back_after_a_restart_of_the_machine(stack: Stack) -> None:
    stack.write(FILE)
    stack.up()
    stack.run("up", "--wait", "web")
    index = Index(stack.paths)
    ids = {row.service: row.id for row in index.containers(stack.name)}
    index.close()
    _stop_by_hand(stack, ids["stopped"], ids["stopped-always"])
    address = stack.shell("web", "hostname -i")
    reboot(stack)
    assert set(by_service(stack).values()) == {"exited"}
    (stack.directory / "compose.yaml").rename(stack.directory / "moved.yaml")
    assert f"start container {stack.name}-web-1" in stack.run("boot", "start", "--dry-run")
    stack.run("boot", "start")
    (stack.directory / "moved.yaml").rename(stack.directory / "compose.yaml")
    assert {service for service, state in by_service(stack).items() if state == "running"} == BACK
    assert stack.shell("db", "cat /kept") == "run\nrun"  # the container's own files are there
    assert stack.shell("web", "hostname -i") == address
    assert stack.shell("db", "nslookup shop >/dev/null && ping -c1 -W5 web >/dev/null && echo ok") == "ok"
    assert [one["Publishers"][0]["TargetPort"] for one in stack.ps("web").values()] == [80]
    stack.run("boot", "start")  # what runs is left alone
    assert stack.shell("db", "cat /kept") == "run\nrun"
    assert stack.up("db", "web").count("Recreat") == 0


def _stop_by_hand(stack: Stack, *ids: str) -> None:
    from compose.runtime.client import Keeper

    for identity in ids:
        Keeper(stack.paths, stack.name).stop(identity)


def test_what_is_stopped_for_the_end_of_the_machine_comes_back(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: IMAGE, command: sleep 1000, restart: unless-stopped}
  clean:
    image: IMAGE
    command: sh -c 'trap "exit 0" TERM; echo ready; while :; do sleep 0.1; done'
    restart: on-failure
  once: {image: IMAGE, command: sleep 1000}
""")
    stack.up()
    stack.until_written("ready", "clean")
    table = stack.run("boot", "status")
    assert "not enabled" in table
    rows = [line.split() for line in table.splitlines()[2:]]
    assert {row[0].split("-")[-2]: " ".join(row[1:]) for row in rows} == {
        "web": "comes back restart: unless-stopped",
        "clean": "comes back restart: on-failure",
        "once": "stays as it is restart: no",
    }
    stack.run("boot", "stop")
    assert set(by_service(stack).values()) == {"exited"}
    index = Index(stack.paths)
    states = {
        row.service: records.recorded_state(stack.paths, row.id) for row in index.containers(stack.name)
    }
    index.close()
    assert states["web"]["resume_at_boot"]
    assert states["clean"]["exit_code"] == 0
    stack.run("boot", "start")
    assert by_service(stack) == {"web": "running", "clean": "exited", "once": "exited"}


@pytest.mark.parametrize("keep_run", [False, True])
def test_up_after_a_restart_keeps_the_containers(stack: Stack, keep_run: bool) -> None:
    stack.write(FILE)
    stack.run("up", "--wait", "web")
    before = stack.ids()
    reboot(stack, keep_run=keep_run)
    stack.run("up", "--wait", "web")
    assert stack.ids() == before
    assert stack.shell("db", "cat /kept") == "run\nrun"
    assert stack.shell("web", "ping -c1 -W5 db >/dev/null && echo ok") == "ok"
    assert "it was not enabled" in stack.run("boot", "disable")
