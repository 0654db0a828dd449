"""`logs` shows what containers wrote, all of it, in order."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

import pytest

from compose.runtime.client import read_state
from tests.support.command import Lines
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from tests.support.command import Stack


@pytest.fixture
def talked(stack: Stack) -> Stack:
    """Two jobs that have ended: five lines, one of them on standard error and without an end."""
    stack.write("""
services:
  one: {image: IMAGE, command: [sh, -c, "echo 1; echo 2; echo 3"]}
  two:
    image: IMAGE
    command: [sh, -c, "echo 4; printf 5 >&2"]
    depends_on: {one: {condition: service_completed_successfully}}
""")
    stack.run("up")
    return stack


def test_logs_says_which_container_a_line_is_from(talked: Stack) -> None:
    lines = talked.run("logs").splitlines()
    assert sorted(lines) == [f"one-1  | {n}" for n in (1, 2, 3)] + [f"two-1  | {n}" for n in (4, 5)]


def test_logs_of_one_service(talked: Stack) -> None:
    assert talked.run("logs", "--no-log-prefix", "one").splitlines() == ["1", "2", "3"]


def test_logs_shows_the_last_lines(talked: Stack) -> None:
    assert talked.run("logs", "--no-log-prefix", "--tail", "1", "one") == "3\n"
    assert talked.run("logs", "--no-log-prefix", "--tail", "-1", "one").endswith("2\n3\n")
    assert talked.run("logs", "--no-log-prefix", "-n", "0", "one") == ""


def test_without_a_log_only_who_is_attached_sees_something(stack: Stack) -> None:
    stack.write("services: {a: {image: IMAGE, command: [echo, hi], logging: {driver: none}}}")
    assert "a-1  | hi" in stack.run("up")
    shown = stack.try_run("logs")
    assert (shown.code, shown.out) == (0, "")
    assert f"container {stack.name}-a-1 keeps no log: its logging.driver is none" in shown.err


def test_the_last_lines_stay_although_one_file_of_a_log_is_full(stack: Stack) -> None:
    script = "i=0; while test $i -lt 400; do echo line $i; i=$((i+1)); done".replace("$", "$$")
    options = "logging: {options: {max-size: 1k, max-file: 1}}"
    stack.write(f"services: {{a: {{image: IMAGE, command: [sh, -c, '{script}'], {options}}}}}")
    stack.run("up")
    assert stack.run("logs", "--no-log-prefix").endswith("line 399\n")


def test_logs_says_when_a_line_was_written(talked: Stack) -> None:
    line = talked.run("logs", "--no-log-prefix", "-t", "--tail", "1", "one")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 3\n", line)


def test_logs_of_a_service_that_is_not_there_is_an_error(talked: Stack) -> None:
    assert "no such service: nosuch" in talked.fails("logs", "nosuch", code=2)


def test_logs_follows_what_is_written_until_the_container_ends(stack: Stack) -> None:
    stack.write("""
services:
  box:
    image: IMAGE
    command: [sh, -c, "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done"]
""")
    stack.up()
    with stack.start("logs", "-f") as process:
        lines = Lines(process.stdout)
        assert lines.expect("ready") == "box-1  | ready"
        stack.shell("box", "echo from exec > /proc/1/fd/1")
        assert lines.expect("from exec") == "box-1  | from exec"
        stack.run("down")
        assert lines.expect("bye") == "box-1  | bye"
        process.communicate(timeout=MOMENT)
    assert process.returncode == 0


def test_no_line_of_many_is_lost_and_none_comes_twice(stack: Stack) -> None:
    stack.write("services:\n  box: {image: IMAGE, command: [seq, '20000']}\n")
    stack.run("up")
    assert stack.run("logs", "--no-log-prefix") == "".join(f"{n}\n" for n in range(1, 20001))


def test_a_log_driver_sends_lines_on_and_logs_keeps_them(stack: Stack) -> None:
    path = f"{stack.directory}/log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        stack.write(f"""
services:
  web:
    image: IMAGE
    command: [sh, -c, "echo hello; sleep 1000"]
    logging:
      driver: syslog
      options: {{syslog-address: 'unixgram://{path}', syslog-facility: local1, tag: '{{{{.Name}}}}'}}
""")
        stack.up()
        found = server.recv(1000).decode()
    assert re.fullmatch(rf"<142>... .. ..:..:.. {stack.name}-web-1\[\d+\]: hello", found)
    assert stack.run("logs", "--no-log-prefix") == "hello\n"


def test_a_log_option_that_means_nothing_is_refused_before_anything_is_made(stack: Stack) -> None:
    stack.write("""
services:
  web: {image: IMAGE, logging: {driver: gelf, options: {gelf-address: 'http://x'}}}
""")
    assert "gelf-address: 'http://x' is not known" in stack.fails("up", "-d")
    assert not stack.ids()


def test_logs_follows_containers_that_are_started_meanwhile(stack: Stack) -> None:
    stack.write("""
services:
  box: {image: IMAGE, command: [sh, -c, 'echo I am; exec sleep infinity'], stop_grace_period: 0s}
""")
    stack.up()
    process = stack.start("logs", "-f")
    try:
        lines = Lines(process.stdout)
        assert lines.expect("I am") == "box-1  | I am"
        stack.up("--scale", "box=2")
        assert lines.expect("I am") == "box-2  | I am"
        stack.run("kill", "box")
        assert process.wait(MOMENT) == 0
    finally:
        process.kill()
        process.communicate()


FLOOD = int(os.environ.get("PYCOMPOSE_TEST_FLOOD", "64"))
"""Megabytes that each container writes; more of them where somebody has the time."""
KEPT = 12
"""Megabytes: three segments and one that is still read; each of 1m, the rest of a line, a pipe's content."""
MOST = 32 << 10
"""KiB of memory that is enough for any of ours, however much is written."""


def peak(pid: int) -> int:
    """The most memory that a process has had, in KiB."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))


@pytest.mark.timeout(600 + 10 * FLOOD)
def test_a_flood_of_output_is_kept_small_by_everybody(stack: Stack) -> None:
    """Lines or none; whoever does not read what he follows takes no memory for it, and stops nobody."""
    wait = "while [ ! -e /go ]; do sleep 0.1; done"
    end = "echo; echo written; exec sleep 1000"
    stack.write(f"""
x-log: &log {{logging: {{options: {{max-size: 1m, max-file: "3"}}}}}}
services:
  lines: {{<<: *log, image: IMAGE, command: [sh, -c, "{wait}; yes 012345678 | head -c {FLOOD}m; {end}"]}}
  bytes: {{<<: *log, image: IMAGE, command: [sh, -c, "{wait}; head -c {FLOOD}m /dev/zero; {end}"]}}
""")
    stack.up()
    there = stack.ps("--no-trunc").values()
    with stack.start("logs", "-f") as follower, stack.start("attach", "--no-stdin", "lines") as attached:
        for service in ("lines", "bytes"):
            stack.shell(service, "touch /go")
        stack.until_written("written", times=2)
        for one in there:
            assert peak(read_state(stack.paths, one["ID"])["monitor_pid"]) < MOST
            log = f"{stack.paths.container(one['ID'])}/log"
            assert sum(entry.stat().st_size for entry in os.scandir(log)) < KEPT << 20
        for process in (follower, attached):
            assert process.poll() is None
            assert peak(process.pid) < MOST
            process.kill()
            process.communicate()
    assert len(stack.run("logs", "--no-log-prefix", "--tail", "1", "bytes")) < 2 << 20
