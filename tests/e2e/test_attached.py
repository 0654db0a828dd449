"""`up` without -d: the logs of everything, until Ctrl-C or the last container's end."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.support.command import Lines
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from tests.support.command import Stack

TALKERS = """
services:
  one:
    image: IMAGE
    command: [sh, -c, "trap 'echo one ends; exit 0' TERM; echo one speaks; while :; do sleep 1; done"]
  two:
    image: IMAGE
    command: [sh, -c, "trap 'exit 0' TERM; echo two speaks >&2; while :; do sleep 1; done"]
"""


def test_each_line_says_which_container_it_is_from(stack: Stack) -> None:
    stack.write("""
services:
  short: {image: IMAGE, command: [echo, from short]}
  longername: {image: IMAGE, command: [echo, from long]}
""")
    lines = stack.run("up").splitlines()
    assert "short-1       | from short" in lines
    assert "longername-1  | from long" in lines


def test_ctrl_c_stops_everything(stack: Stack) -> None:
    stack.write(TALKERS)
    with stack.start("up") as process:
        lines = Lines(process.stdout)
        lines.expect("one speaks")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=MOMENT)
    assert process.returncode == 130
    assert {one["State"] for one in stack.ps("--all").values()} == {"exited"}
    assert "one-1  | one ends\n" in stack.run("logs", "one")


def test_ctrl_c_on_a_terminal_stops_everything(stack: Stack) -> None:
    stack.write(TALKERS)
    with stack.terminal("up") as terminal:
        terminal.expect("speaks")
        terminal.expect("speaks")
        terminal.type("\x03")
        assert terminal.ends() == 130
    assert {one["State"] for one in stack.ps("--all").values()} == {"exited"}


def test_ctrl_c_twice_does_not_wait_for_the_grace_period(stack: Stack) -> None:
    stack.write("""
services:
  deaf:
    image: IMAGE
    command: [sh, -c, "trap '' TERM; echo deaf; while :; do sleep 1; done"]
    stop_grace_period: 10m
""")
    with stack.start("up") as process:
        lines = Lines(process.stdout)
        lines.expect("| deaf")
        process.send_signal(signal.SIGINT)
        Lines(process.stderr).expect("topping")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=MOMENT)
    assert {one["State"] for one in stack.ps("--all").values()} == {"exited"}


def test_options_without_an_effect_are_told_once(stack: Stack) -> None:
    stack.write("services:\n  job: {image: IMAGE, command: [echo, done]}\n")
    done = stack.try_run("up", "-w", "--menu")
    assert done.code == 0 and "job-1  | done" in done.out
    assert done.err.count("--watch has no effect yet") == done.err.count("--menu has no effect yet") == 1
    assert "no effect" not in stack.run("up", "--menu=false", "--watch=false", "-d")


def test_up_ends_with_the_last_container(stack: Stack) -> None:
    stack.write("services:\n  job: {image: IMAGE, command: [sh, -c, 'echo done; exit 3']}\n")
    done = stack.try_run("up")
    assert "job-1  | done" in done.out
    assert "job-1 exited with code 3" in done.out + done.err


def test_a_container_that_is_made_anew_or_restarted_is_followed_on(stack: Stack) -> None:
    """Also when it is the only one, so that none runs for a moment."""
    stack.write("services:\n  one: {image: IMAGE, command: [sh, -c, 'echo begun; exec sleep 600']}\n")
    with stack.start("up") as up:
        shown = Lines(up.stdout)
        shown.expect("one-1  | begun")
        with stack.start("logs", "-f") as logs:
            followed = Lines(logs.stdout)
            followed.expect("one-1  | begun")
            for command in (("up", "-d", "--force-recreate"), ("restart",)):
                stack.run(*command, "-t", "0")
                shown.expect("one-1  | begun")
                followed.expect("one-1  | begun")
            stack.run("stop", "-t", "0")
            assert logs.wait(MOMENT) == 0
        assert up.wait(MOMENT) == 0


def test_ctrl_c_stops_containers_that_ran_before_too(stack: Stack) -> None:
    stack.write("""
services:
  clock: {image: IMAGE, command: [sh, -c, "while :; do echo tick; sleep 1; done"], stop_grace_period: 1s}
""")
    stack.up()
    with stack.start("up") as process:
        Lines(process.stdout).expect("clock-1  | tick")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=MOMENT)
    assert {one["State"] for one in stack.ps("--all").values()} == {"exited"}


def test_up_dash_d_returns_while_its_output_is_captured(stack: Stack) -> None:
    """A helper that kept the pipe of `$(pycompose up -d)` open would make the shell wait for ever."""
    stack.write(TALKERS)
    stack.run("up", "-d")
