"""`attach` joins a terminal, or two pipes, with the main process of a service."""

from __future__ import annotations

import signal
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from subprocess import Popen

    from tests.support.command import Stack

SHELL = "services: {sh: {image: IMAGE, command: [sh], tty: true, stdin_open: true}}\n"
READER = """
services:
  cat:
    image: IMAGE
    stdin_open: true
    command:
      - sh
      - -c
      - 'trap "echo hung up; exit 9" HUP; while read line; do echo "<$$line>"; echo err >&2; done'
"""


@pytest.fixture
def shell(stack: Stack) -> Stack:
    stack.write(SHELL)
    stack.up()
    return stack


@pytest.fixture
def reader(stack: Stack) -> Stack:
    stack.write(READER)
    stack.up()
    return stack


def say(process: Popen[str], line: str) -> None:
    """Write a line to a command's standard input."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def hear(process: Popen[str]) -> str:
    """The next line that a command writes."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_attach_to_a_terminal_and_detach_leaves_it_running(shell: Stack) -> None:
    with shell.terminal("attach", "sh", rows=33, columns=99) as terminal:
        terminal.type("echo got $((40 + 2)); stty size\n")
        terminal.expect("got 42")
        terminal.expect("33 99")
        terminal.resize(41, 101)
        terminal.type('until stty size | grep "41 10$((0 + 1))"; do sleep 0.05; done\n')
        terminal.expect("41 101")
        terminal.type("\x10\x11")
        terminal.expect("read escape sequence")
        assert terminal.ends() == 1
    assert shell.ps()[f"{shell.name}-sh-1"]["State"] == "running"


def test_two_who_are_attached_see_the_same(shell: Stack) -> None:
    with shell.terminal("attach", "sh") as first, shell.terminal("attach", "sh") as second:
        second.type("\n")
        second.expect("#")
        first.type("echo both $((40 + 2))\n")
        first.expect("both 42")
        second.expect("both 42")
        second.type("exit 6\n")
        assert (first.ends(), second.ends()) == (6, 6)


def test_other_keys_detach_where_they_are_asked_for(shell: Stack) -> None:
    with shell.terminal("attach", "--detach-keys", "ctrl-x,q", "sh") as terminal:
        terminal.type("echo not \x10\x11$((40 + 2))\n")
        terminal.expect("42")
        terminal.type("\x18q")
        assert terminal.ends() == 1
    assert "'ctrl-!'" in shell.fails("attach", "--detach-keys", "ctrl-!", "sh", code=2)


def test_the_terminal_is_as_before_after_a_signal(shell: Stack) -> None:
    import termios

    with shell.terminal("attach", "--sig-proxy=false", "sh") as terminal:
        before = terminal.attributes
        terminal.type("echo raw $((40 + 2))\n")
        terminal.expect("raw 42")
        raw = termios.tcgetattr(terminal.descriptor)
        assert raw != before
        terminal.process.send_signal(signal.SIGSTOP)
        termios.tcsetattr(terminal.descriptor, termios.TCSANOW, before)  # as the shell does that gets it back
        terminal.process.send_signal(signal.SIGCONT)
        while termios.tcgetattr(terminal.descriptor) != raw:
            pass
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(MOMENT) == 128 + signal.SIGTERM
        assert termios.tcgetattr(terminal.descriptor) == before


def test_a_closed_window_detaches(shell: Stack) -> None:
    with shell.terminal("attach", "sh") as terminal:
        terminal.type("trap 'exit 3' HUP; echo here $((40 + 2))\n")
        terminal.expect("here 42")
        terminal.close()
        assert terminal.process.wait(MOMENT) == 128 + signal.SIGHUP
    with shell.terminal("attach", "sh") as terminal:
        terminal.type("echo still here $((40 + 3))\n")
        terminal.expect("still here 43")


def test_attach_without_a_terminal_passes_lines_both_ways(reader: Stack) -> None:
    with reader.start("attach", "cat", stdin=PIPE) as process:
        say(process, "one")
        assert hear(process) == "<one>\n"
        assert process.stderr is not None
        assert process.stderr.readline() == "err\n"
        process.send_signal(signal.SIGHUP)
        assert hear(process) == "hung up\n"
        assert process.wait(MOMENT) == 9


def test_attach_survives_the_death_of_the_monitor(reader: Stack) -> None:
    import os

    from compose.runtime.records import recorded_state

    (row,) = reader.ps().values()
    identity = next(name for name in os.listdir(reader.paths.containers) if name.startswith(row["ID"]))
    with reader.start("attach", "cat", stdin=PIPE) as process:
        say(process, "one")
        assert hear(process) == "<one>\n"
        os.kill(recorded_state(reader.paths, identity)["monitor_pid"], signal.SIGKILL)
        say(process, "two")
        assert hear(process) == "<two>\n"
        process.send_signal(signal.SIGHUP)
        assert hear(process) == "hung up\n"
        assert process.wait(MOMENT) == 9


def test_attach_says_why_it_cannot(reader: Stack) -> None:
    assert "not running container #2" in reader.fails("attach", "--index", "2", "cat")
    reader.run("down", "-t", "0")
    assert "service cat is not running" in reader.fails("attach", "cat")
    assert "no such service" in reader.fails("attach", "nosuch", code=2)


def test_attach_to_a_terminal_needs_one(shell: Stack) -> None:
    assert "not a TTY" in shell.fails("attach", "sh")
