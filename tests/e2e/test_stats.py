"""`top`, `stats`, `port`, `images` and `volumes` say what is true of containers."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.command import Stack

BUSY = """
services:
  busy:
    image: IMAGE
    command: [sh, -c, 'sleep 600 & while :; do :; done']
    user: app
    mem_limit: 64m
    volumes: ['data:/data']
    ports: ['127.0.0.1::80', '127.0.0.1::53/udp']
  idle: {image: IMAGE, command: [sleep, infinity], scale: 2, ports: ["80"]}
  off: {image: IMAGE, command: ['true']}
volumes: {data: {}, spare: {}}
"""


@pytest.fixture
def busy(stack: Stack) -> Stack:
    stack.write(BUSY)
    stack.up()
    stack.shell("busy", "until pidof sleep; do :; done")
    stack.try_run("wait", "off")  # until its end is written down; an error where it is already
    return stack


def test_top_lists_the_processes_of_containers(busy: Stack) -> None:
    head, *rows = (line.split(maxsplit=9) for line in busy.run("top", "busy").splitlines())
    assert head == ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    by_command = {row[9]: row for row in rows}
    assert set(by_command) == {"sh -c sleep 600 & while :; do :; done", "sleep 600"}
    shell, sleep = by_command["sh -c sleep 600 & while :; do :; done"], by_command["sleep 600"]
    assert sleep[4] == shell[3] and int(shell[5]) > int(sleep[5]) == 0
    assert sleep[2] != "root" and sleep[7] == "?"
    assert os.readlink(f"/proc/{sleep[3]}/ns/pid") == os.readlink(f"/proc/{shell[3]}/ns/pid")
    everything = busy.run("top")
    assert everything.count("sleep infinity") == 2 and "off" not in everything
    assert "no such service" in busy.fails("top", "nosuch", code=2)


def test_stats_measure_what_containers_use(busy: Stack) -> None:
    busy.shell("idle", "wget -q -O /dev/null http://busy/ || true")
    lines = busy.run("stats", "--no-stream", "--format", "json").splitlines()
    found = {one["Name"].removeprefix(f"{busy.name}-"): one for one in map(json.loads, lines)}
    assert set(found) == {"busy-1", "idle-1", "idle-2"}
    one, idle = found["busy-1"], found["idle-1"]
    assert float(one["CPUPerc"].rstrip("%")) > float(idle["CPUPerc"].rstrip("%"))
    assert one["MemUsage"].endswith(" / 64MiB") and one["PIDs"] == "2"
    assert not one["MemUsage"].startswith("0B") and not idle["MemUsage"].endswith("/ 0B")
    assert idle["NetIO"] != "0B / 0B" and len(idle["ID"]) == 12


def test_stats_come_again_and_again_and_as_people_want_them(busy: Stack) -> None:
    head, *rows = busy.run("stats", "--no-stream", "-a").splitlines()
    assert head.split()[:5] == ["CONTAINER", "ID", "NAME", "CPU", "%"] and len(rows) == 4
    with busy.start("stats", "--format", "{{.Name}} {{.PIDs}}", "busy") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == process.stdout.readline() == f"{busy.name}-busy-1 2\n"
        process.terminate()


def test_port_prints_where_a_port_is(busy: Stack) -> None:
    (row,) = busy.ps("busy").values()
    by_protocol = {one["Protocol"]: one["PublishedPort"] for one in row["Publishers"]}
    assert busy.run("port", "busy", "80") == f"127.0.0.1:{by_protocol['tcp']}\n"
    assert busy.run("port", "--protocol", "udp", "busy", "53") == f"127.0.0.1:{by_protocol['udp']}\n"
    first, second = busy.run("port", "idle", "80"), busy.run("port", "--index", "2", "idle", "80")
    assert first != second and first.startswith("0.0.0.0:")
    assert "no port 81/tcp" in busy.fails("port", "busy", "81")
    assert "service off is not running" in busy.fails("port", "off", "80")


def test_images_are_those_of_containers(busy: Stack) -> None:
    head, *rows = busy.run("images").splitlines()
    assert head.split("  ")[0] == "CONTAINER" and len(rows) == 4
    name, repository, tag, platform = rows[0].split()[:4]
    assert (name, repository, tag) == (f"{busy.name}-busy-1", busy.image, "latest")
    assert platform == "linux/amd64"
    (first, *others) = json.loads(busy.run("images", "--format", "json"))
    assert len(others) == 3 and first["Size"] > 100_000
    assert busy.run("images", "-q", "busy") == first["ID"].removeprefix("sha256:") + "\n"


def test_volumes_are_those_of_the_project_or_of_services(busy: Stack) -> None:
    data = f"{busy.name}_data"
    assert data in busy.run("volumes", "-q").split()
    assert busy.run("volumes", "-q", "busy") == f"{data}\n"
    assert busy.run("volumes", "-q", "idle") == ""
    (found,) = map(json.loads, busy.run("volumes", "--format", "json", "busy").splitlines())
    assert (found["Name"], found["Driver"]) == (data, "local") and os.path.isdir(found["Mountpoint"])


def test_ps_filters_and_formats(busy: Stack) -> None:
    name = f"{busy.name}-off-1"
    assert (
        busy.run("ps", "--filter", "status=exited", "--format", "{{.Name}} {{.State}}") == f"{name} exited\n"
    )
    assert "unknown filter" in busy.fails("ps", "--filter", "colour=red", code=2)
    busy.write(BUSY.replace("  off:", "  other:"))
    assert busy.run("ps", "-a", "--orphans=false", "--format", "{{.Service}}", "off") == ""
    assert busy.run("ps", "-a", "--format", "{{.Service}}", "off") == "off\n"


def test_logs_of_a_container_that_is_not_there_are_an_error(busy: Stack) -> None:
    assert "no container #3" in busy.fails("logs", "--index", "3", "idle")
