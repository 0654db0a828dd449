"""`exec` runs a command in a container as if it had been started there."""

from __future__ import annotations

import os
import signal
from subprocess import PIPE, STDOUT
from typing import TYPE_CHECKING

import pytest

from tests.support.patience import MOMENT
from tests.unit.test_import_budget import HEAVY, modules_after

if TYPE_CHECKING:
    from tests.support.command import Stack

ONE = """
services:
  box:
    image: IMAGE
    command: [sleep, infinity]
    environment: {COLOUR: red}
    working_dir: /home
"""


@pytest.fixture
def running(stack: Stack) -> Stack:
    stack.write(ONE)
    stack.up()
    return stack


def test_exec_exits_as_its_command_did(running: Stack) -> None:
    assert running.try_run("exec", "-T", "box", "sh", "-c", "exit 7").code == 7
    assert running.try_run("exec", "-T", "box", "sh", "-c", "kill -9 $$").code == 137


def test_exec_has_the_environment_and_the_directory_of_the_service(running: Stack) -> None:
    assert running.shell("box", "echo $COLOUR in $PWD as $(id -u)") == "red in /home as 0"


def test_exec_takes_a_user_a_directory_and_variables(running: Stack) -> None:
    arguments = ["-u", "app", "-w", "/tmp", "-e", "SIZE=big", "-e", "COLOUR=blue"]
    out = running.run(
        "exec", "-T", *arguments, "box", "sh", "-c", "echo $SIZE $COLOUR $PWD $(id -un) $(id -G)"
    )
    assert out == "big blue /tmp app 1000 2000\n"


def test_exec_takes_variables_from_its_caller(running: Stack) -> None:
    running.environment["SIZE"] = "small"
    out = running.run(
        "exec", "-T", "-e", "SIZE", "-e", "COLOUR", "box", "sh", "-c", "echo $SIZE ${COLOUR-none}"
    )
    assert out == "small none\n"


def test_exec_takes_no_variable_without_a_name(running: Stack) -> None:
    assert "--env =x: no name" in running.fails("exec", "-T", "-e", "=x", "box", "true", code=2)


def test_exec_keeps_both_streams_apart_and_passes_input_on(running: Stack) -> None:
    done = running.try_run("exec", "-T", "box", "sh", "-c", "tr a-z A-Z; echo problem >&2", stdin="text\n")
    assert (done.out, done.err) == ("TEXT\n", "problem\n")


def test_exec_reads_no_input_where_none_is_wanted(running: Stack) -> None:
    assert running.run("exec", "-T", "--interactive=false", "box", "cat", stdin="text\n") == ""
    assert running.run("exec", "-i", "box", "cat", stdin="text\n") == "text\n"
    with running.terminal("exec", "-it", "box", "tty") as terminal:
        terminal.expect("/dev/pts/")
        assert terminal.ends() == 0


def test_exec_passes_a_lot_of_data_through(running: Stack) -> None:
    data = "0123456789abcdef" * (1 << 16)
    assert running.run("exec", "-T", "box", "cat", stdin=data) == data


def test_exec_hands_no_descriptor_of_its_caller_to_the_container(running: Stack) -> None:
    file = running.directory / "input"
    file.write_text("precious\n", encoding="utf-8")
    script = (
        "cat; for n in 0 1 2; do readlink /proc/self/fd/$n; echo spoilt 2>/dev/null >/proc/self/fd/0; done"
    )
    with open(file, encoding="utf-8") as stdin, open(running.directory / "output", "w+") as out:
        with running.start("exec", "-T", "box", "sh", "-c", script, stdin=stdin, stdout=out) as process:
            assert process.wait(MOMENT) == 0
        out.seek(0)
        first, *links = out.read().splitlines()
    assert file.read_text(encoding="utf-8") == "precious\n"
    assert first == "precious" and [link[:5] for link in links] == ["pipe:"] * 3


def test_exec_ends_the_writer_when_nobody_reads(running: Stack) -> None:
    with running.start("exec", "-T", "box", "yes") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "y\n"
        process.stdout.close()
        assert process.wait(MOMENT) == 128 + signal.SIGPIPE


def test_exec_tells_its_own_writer_that_nobody_reads_any_more(running: Stack) -> None:
    with running.start(
        "exec", "-T", "box", "sh", "-c", "exec <&-; echo deaf; sleep 60", stdin=PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "deaf\n"
        with pytest.raises(BrokenPipeError):
            while True:
                os.write(process.stdin.fileno(), b"x" * 4096)
        process.send_signal(signal.SIGTERM)
        assert process.wait(MOMENT) == 128 + signal.SIGTERM


def test_exec_does_not_let_a_stream_that_nobody_reads_hold_up_another(running: Stack) -> None:
    zeros = "head -c 1000000 /dev/zero"
    script = f"{zeros} >&2 & echo out; {zeros} | tr '\\0' a; wait"
    with running.start("exec", "-T", "box", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1000004) == "out\n" + "a" * 1000000
        process.stderr.read()
        assert process.wait(MOMENT) == 0


def test_exec_keeps_the_order_of_what_goes_to_one_place(running: Stack) -> None:
    script = "for n in 1 2 3 4 5 6 7 8 9; do echo out; echo err >&2; done"
    with running.start("exec", "-T", "box", "sh", "-c", script, stderr=STDOUT) as process:
        assert process.communicate(timeout=MOMENT)[0] == "out\nerr\n" * 9


def test_exec_does_not_wait_for_what_its_command_left_behind(running: Stack) -> None:
    assert running.run("exec", "-T", "box", "sh", "-c", "sleep 600 & echo done") == "done\n"


def test_exec_fails_where_its_output_has_no_room(running: Stack) -> None:
    with open("/dev/full", "w", encoding="ascii") as full:
        with running.start("exec", "-T", "box", "echo", "hello", stdout=full) as process:
            assert "No space left" in process.communicate(timeout=MOMENT)[1]
    assert process.returncode == 1


def test_exec_appends_where_its_caller_appends(running: Stack) -> None:
    path = running.directory / "log"
    path.write_text("one\n", encoding="utf-8")
    with open(path, "a", encoding="utf-8") as file:
        with running.start("exec", "-T", "box", "echo", "two", stdout=file) as process:
            assert process.wait(MOMENT) == 0
    assert path.read_text(encoding="utf-8") == "one\ntwo\n"


def test_exec_on_a_terminal_gives_the_command_a_terminal(running: Stack) -> None:
    with running.terminal("exec", "box", "sh", rows=31, columns=97) as terminal:
        terminal.expect("#")
        terminal.type("test -t 0 && test -t 1 && echo it is; stty size\n")
        terminal.expect("it is\r\n")
        terminal.expect("31 97")
        terminal.resize(40, 100)
        terminal.type('until stty size | grep "40 10$((0))"; do sleep 0.05; done\n')
        terminal.expect("40 100")
        terminal.type("exit 5\n")
        assert terminal.ends() == 5


def test_ctrl_c_in_exec_goes_to_the_command_inside(running: Stack) -> None:
    with running.terminal("exec", "box", "sh") as terminal:
        terminal.expect("#")
        terminal.type("sh -c 'echo begin $((40 + 1)); exec sleep 600'\n")
        terminal.expect("begin 41")  # said by the job itself, which has the terminal by then
        terminal.type("\x03")
        terminal.type("echo still $((40 + 2))\n")
        terminal.expect("still 42")
        terminal.type("exit\n")
        assert terminal.ends() == 0


def test_a_process_that_exec_left_behind_ends_with_its_container(running: Stack) -> None:
    running.shell("box", "sleep 600 </dev/null >/dev/null 2>&1 &")
    running.run("down", "-t", "0")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nosuch", "true"], 2, "nosuch"),
        (["box", "no-such-program"], 127, "no-such-program"),
        (["box", "/etc/passwd"], 126, "/etc/passwd"),
        (["-u", "nobody-here", "box", "true"], 126, "nobody-here"),
        (["-u", "0:nogroup-here", "box", "true"], 126, "nogroup-here"),
        (["-w", "/nowhere", "box", "true"], 126, "/nowhere"),
        (["-w", "/etc/passwd", "box", "true"], 126, "/etc/passwd"),
    ],
)
def test_exec_that_cannot_be_is_one_clear_line(
    running: Stack, arguments: list[str], code: int, said: str
) -> None:
    done = running.try_run("exec", "-T", *arguments)
    assert done.code == code
    assert said in done.err and "Traceback" not in done.err


def test_exec_in_a_service_that_does_not_run_is_an_error(stack: Stack) -> None:
    stack.write("services:\n  job: {image: IMAGE, command: ['true']}\n")
    stack.up()
    assert "not running" in stack.fails("exec", "-T", "job", "true")


def test_exec_loads_little(running: Stack) -> None:
    environment = {"PYCOMPOSE_DATA_DIR": running.paths.data, "PYCOMPOSE_RUN_DIR": running.paths.run}
    file = str(running.directory / "compose.yaml")
    for _ in range(2):  # the first time fills the cache of models
        loaded = modules_after("-f", file, "exec", "-T", "box", "true", environment=environment)
    assert not HEAVY & loaded
    assert len(loaded) <= 105, sorted(loaded)
