"""`run`: one command in a container of its own, as if it ran here."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from compose.runtime.records import read_state
from compose.state.index import Index
from tests.support.command import Lines
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from tests.support.command import Stack

TWO = """
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    restart: always
    environment: {COLOUR: red}
    ports: ["127.0.0.1::80"]
    depends_on: [db]
    networks: {default: {aliases: [www]}}
  db: {image: IMAGE, command: [sleep, infinity], volumes: ["data:/data"]}
volumes: {data: {}}
"""


def test_run_starts_dependencies_and_is_the_programs_output_and_exit_code(stack: Stack) -> None:
    stack.write(TWO)
    script = "echo $COLOUR; echo wrong >&2; exit 5"
    done = stack.try_run("run", "--rm", "web", "sh", "-c", script)
    assert (done.code, done.out) == (5, "red\n")
    assert done.err.endswith("wrong\n") and "run" not in done.err
    assert list(stack.ps("--all")) == [f"{stack.name}-db-1"]
    assert stack.try_run("run", "--rm", "-q", "web", "true") == (0, "", "")


def test_input_and_output_are_the_same_bytes(stack: Stack) -> None:
    stack.write(TWO)
    data = os.urandom(3_000_000)
    options: dict[str, Any] = {"text": False, "stdin": subprocess.PIPE}
    process: Any = stack.start("run", "--rm", "--no-deps", "-q", "web", "cat", **options)
    with process:
        assert process.communicate(data, timeout=MOMENT) == (data, b"")
    assert process.returncode == 0


def test_a_slow_reader_makes_the_command_wait_and_loses_nothing(stack: Stack) -> None:
    stack.write("""
services:
  box: {image: IMAGE, logging: {options: {max-size: 1m, max-file: "1"}}}
""")
    count = 20_000_000
    script = f"head -c {count} /dev/zero"
    process: Any = stack.start("run", "--rm", "-q", "box", "sh", "-c", script, text=False)
    with process:
        (name,) = wait_for(stack, 1)
        assert (
            stack.ps("--status", "running")[name]["State"] == "running"
        )  # there is no room for all that it has to say
        data = process.stdout.read()
    assert len(data) == count and not data.strip(b"\0")


def test_no_byte_is_lost_or_doubled_when_the_monitor_is_killed(stack: Stack) -> None:
    stack.write("services: {box: {image: IMAGE, logging: {options: {max-size: 1m, max-file: '2'}}}}")
    arguments = ("run", "--rm", "-q", "box", "seq", "1", "2000000")
    process: Any = stack.start(*arguments, text=False)
    digest, expected = hashlib.sha256(), hashlib.sha256()
    with process:
        for block in range(20):  # between blocks it waits for us, sooner or later
            digest.update(process.stdout.read(100_000))
            if block % 5 == 4:
                kill_monitor(stack)
        while data := process.stdout.read(1 << 16):
            digest.update(data)
    for number in range(1, 2_000_001, 10_000):
        expected.update("".join(f"{n}\n" for n in range(number, number + 10_000)).encode())
    assert process.returncode == 0
    assert digest.digest() == expected.digest()


def kill_monitor(stack: Stack) -> None:
    """Kill the monitor of the only container."""
    ((name, found),) = stack.ps("--status", "running").items()
    with contextlib.closing(Index(stack.paths)) as index:
        identity = next(row.id for row in index.containers(stack.name) if row.name == name)
    assert identity.startswith(found["ID"])
    with contextlib.suppress(ProcessLookupError):  # its successor is not there yet
        os.kill(read_state(stack.paths, identity)["monitor_pid"], signal.SIGKILL)


def wait_for(stack: Stack, number: int) -> list[str]:
    """The names of the containers, as soon as so many run."""
    while len(found := stack.ps("--status", "running")) < number:
        pass
    return list(found)


def test_options_change_the_container(stack: Stack) -> None:
    stack.write(TWO)
    stack.environment["CALLERS"] = "own"
    (stack.directory / "vars").write_text("FROM_FILE=f\nCOLOUR=file\n", encoding="utf-8")
    script = (
        "echo $CALLERS $FROM_FILE $COLOUR ${NOPE-unset}; id -u; pwd; cat /here/vars; cat /proc/self/status"
    )
    out = stack.run(
        *("run", "--rm", "--no-deps", "-e", "CALLERS", "-e", "NOPE", "-e", "COLOUR=blue"),
        *("--env-from-file", "vars", "-u", "1000", "-w", "/tmp", "-v", ".:/here:ro", "--cap-drop", "ALL"),
        *("--entrypoint", "sh -c", "web", script),
    )
    lines = out.splitlines()
    assert lines[:5] == ["own f blue unset", "1000", "/tmp", "FROM_FILE=f", "COLOUR=file"]
    assert "CapBnd:\t0000000000000000" in lines


def test_what_follows_the_service_is_the_command_as_it_stands(stack: Stack) -> None:
    stack.write(TWO)
    begin = ("run", "--rm", "--no-deps", "--name", "", "--entrypoint", "echo")
    assert stack.run(*begin, "web", "--", "-n", "--") == "-- -n --\n"
    assert stack.run(*begin, "--", "web", "--rm") == "--rm\n"


def test_ports_and_names_are_only_the_services_where_asked_for(stack: Stack) -> None:
    stack.write(TWO)
    stack.run("run", "-d", "--name", "plain", "web", "sleep", "infinity")
    stack.run("run", "-d", "--name", "full", "-P", "--use-aliases", "web", "sleep", "infinity")
    found = stack.ps("--status", "running")
    assert [len(found[name]["Publishers"]) for name in ("plain", "full")] == [0, 1]
    names = {name: stack.try_run("exec", "-T", "db", "nslookup", name).code for name in ("plain", "full")}
    assert names == {"plain": 0, "full": 0}
    addresses = stack.shell("db", "nslookup www; nslookup web; nslookup full")
    own = addresses.splitlines()[-2:]
    assert addresses.count(own[-1] or own[0]) == 3
    assert "Labels" in found["plain"] and "com.docker.compose.oneoff=True" in found["plain"]["Labels"]
    assert "--service-ports" in stack.fails("run", "-p", "80", "-P", "web", code=2)


def test_a_detached_run_prints_its_id_and_is_removed_at_its_end(stack: Stack) -> None:
    stack.write(TWO)
    script = "mkfifo /go; read line </go"
    identity = stack.run("run", "-d", "--rm", "--name", "mine", "web", "sh", "-c", script).strip()
    assert len(identity) == 64 and stack.ps("--status", "running")["mine"]["ID"] == identity[:12]
    stack.run("kill", "web")
    while "mine" in stack.ps("--all"):  # by a process of its own
        pass
    assert list(stack.ps()) == [f"{stack.name}-db-1"]


@pytest.mark.parametrize(("program", "code"), [("nosuch", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_executed_is_told_and_left_no_container(stack: Stack, program: str, code: int) -> None:
    stack.write(TWO)
    assert program in stack.fails("run", "--rm", "--no-deps", "web", program, code=code)
    assert stack.ps("--all") == {}


def test_a_volume_of_the_command_line_is_the_projects_where_a_service_has_it(stack: Stack) -> None:
    stack.write(f"{TWO}".replace("{data: {}}", "{data: {}, spare: {}}"))
    told = {
        name: stack.run("run", "--dry-run", "--no-deps", "-v", f"{name}:/x", "web", "true")
        for name in ("data", "spare")
    }
    assert f"volume {stack.name}_data" in told["data"]
    assert "volume spare" in told["spare"]


def test_mistakes_are_found_before_anything_happens(stack: Stack) -> None:
    stack.write(TWO)
    assert "no such service: nosuch" in stack.fails("run", "nosuch", code=2)
    assert "--publish abc" in stack.fails("run", "-p", "abc", "web")
    assert "--name a b" in stack.fails("run", "--name", "a b", "web")
    assert "--env-from-file nosuch" in stack.fails("run", "--env-from-file", "nosuch", "web", code=2)
    assert stack.ps("--all") == {}
    plan = stack.run("run", "--dry-run", "--name", "mine", "web", "true")
    assert f"start container {stack.name}-db-1" in plan and "create container mine  (run)" in plan
    assert "volume" in plan and "volume" not in stack.run("run", "--dry-run", "--no-deps", "web", "true")
    assert stack.ps("--all") == {}


def test_a_terminal_is_joined_with_that_of_the_command(stack: Stack) -> None:
    stack.write(TWO)
    with stack.terminal("run", "--rm", "--no-deps", "web", "sh", rows=31, columns=97) as terminal:
        terminal.expect("#")
        terminal.type("stty size; tty\n")
        terminal.expect("31 97")
        terminal.resize(20, 60)
        terminal.type('until stty size | grep "20 6$((0))"; do sleep 0.05; done\n')
        terminal.expect("20 60")
        terminal.type("sh -c 'echo begin $((40 + 1)); exec sleep 600'\n")
        terminal.expect("begin 41")
        terminal.type("\x03")
        terminal.type("echo still $((40 + 2)); exit 9\n")
        terminal.expect("still 42")
        assert terminal.ends() == 9


def test_run_on_a_terminal_shows_what_the_command_shows_and_begins_at_its_size(stack: Stack) -> None:
    stack.write("services: {web: {image: IMAGE, command: [sleep, infinity]}}")
    stack.up()
    for command in (["run", "--rm", "web"], ["exec", "web"]):
        with stack.terminal(*command, "stty", "size", rows=31, columns=97) as terminal:
            shown = terminal.expect("31 97")
            assert terminal.ends() == 0
        assert shown.strip() == "31 97"


@pytest.mark.parametrize("service", ["run", "exec"])
def test_a_closed_window_ends_what_ran_in_it(stack: Stack, service: str) -> None:
    stack.write("services: {web: {image: IMAGE, command: [sleep, infinity], volumes: ['.:/x']}}")
    command = ["run", "--rm", "--no-deps", "web"]
    if service == "exec":
        stack.up()
        command = ["exec", "web"]
    script = "trap 'echo gone > /x/gone; exit 7' HUP; echo begun; sleep 600 & wait"
    with stack.terminal(*command, "sh", "-c", script) as terminal:
        terminal.expect("begun")
        terminal.close()
        assert terminal.process.wait(MOMENT) == (7 if service == "run" else 128 + signal.SIGHUP)
    while not (stack.directory / "gone").exists():
        time.sleep(0.01)
    assert len(stack.ps("--all")) == (0 if service == "run" else 1)


@pytest.mark.parametrize(
    ("flags", "terminal_inside"),
    [("", True), ("-it", True), ("-ti", True), ("-i=false", True), ("-T", False), ("-t=false", False)],
)
def test_who_gets_a_terminal(stack: Stack, flags: str, *, terminal_inside: bool) -> None:
    stack.write(TWO)
    words = [flags] if flags else []
    with stack.terminal("run", "--rm", "--no-deps", *words, "web", "tty") as terminal:
        terminal.expect("/dev/pts/0" if terminal_inside else "not a tty")
        assert terminal.ends() == (0 if terminal_inside else 1)


def test_input_from_a_pipe(stack: Stack) -> None:
    stack.write(TWO)
    for flags in ([], ["-i"], ["-T"]):
        assert stack.run("run", "--rm", "--no-deps", *flags, "web", "cat", stdin="given\n") == "given\n"
    assert stack.run("run", "--rm", "--no-deps", "-i=false", "web", "cat", stdin="given\n") == ""
    for flags in (["-it"], ["-t"], ["--tty"]):
        said = stack.fails("run", "--rm", "--no-deps", *flags, "web", "cat")
        assert "the input device is not a TTY" in said
    assert stack.ps("--all") == {}


@pytest.mark.parametrize(
    "arguments", [("-w", "/etc/passwd", "web", "true"), ("-u", "nobody-here", "web", "true")]
)
def test_what_cannot_be_set_up_for_a_command_is_told(stack: Stack, arguments: tuple[str, ...]) -> None:
    stack.write(TWO)
    assert arguments[1] in stack.fails("run", "--rm", "--no-deps", *arguments)
    assert stack.ps("--all") == {}


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.1; done", 3),
        ("echo ready; exec sleep 600", 137),
    ],
)
def test_an_interrupt_goes_to_the_command_or_ends_one_that_would_not_hear_it(
    stack: Stack, script: str, code: int
) -> None:
    stack.write(TWO)
    with stack.start("run", "--rm", "--no-deps", "-T", "web", "sh", "-c", script) as process:
        Lines(process.stdout).expect("ready")
        process.send_signal(signal.SIGINT)
        assert process.wait(MOMENT) == code
    assert stack.ps("--all") == {}


def test_a_reader_that_goes_ends_the_command(stack: Stack) -> None:
    stack.write(TWO)
    with stack.start("run", "--rm", "--no-deps", "-T", "web", "yes") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "y\n"
        process.stdout.close()
        assert process.wait(MOMENT) == 128 + signal.SIGPIPE
    assert stack.ps("--all") == {}


def test_input_ends_with_its_writer_even_where_run_is_killed(stack: Stack) -> None:
    stack.write(TWO)
    arguments = ("run", "--rm", "--no-deps", "--name", "mine", "web", "cat")
    with stack.start(*arguments, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("hello\n")
        process.stdin.flush()
        Lines(process.stdout).expect("hello")
        process.kill()
    while stack.ps("--all")["mine"]["State"] == "running":
        pass
    stack.up("db")  # whatever comes next tidies up
    assert list(stack.ps("--all")) == [f"{stack.name}-db-1"]


def test_run_leaves_the_containers_of_its_service_alone_and_down_leaves_a_running_one(stack: Stack) -> None:
    stack.write(TWO)
    stack.up()
    before = stack.ids()
    stack.run("run", "web", "true")
    stack.run("run", "-d", "--name", "mine", "web", "sleep", "infinity")
    assert stack.ids().items() > before.items()
    assert len(stack.ids()) == 4
    stack.up("--remove-orphans")
    assert stack.ids().keys() == before.keys() | {"mine"}
    stack.run("stop")
    assert list(stack.ps("--status", "running")) == ["mine"]
    assert "still running: mine" in stack.try_run("down").err
    assert list(stack.ps("--all")) == ["mine"]
    stack.run("down", "--remove-orphans")
    assert stack.ps("--all") == {}


def test_down_ends_a_run_that_tidies_up_as_if_nothing_had_been(stack: Stack) -> None:
    stack.write(TWO)
    with stack.start("run", "--rm", "--no-deps", "web", "sh", "-c", "echo ready; exec sleep 600") as process:
        Lines(process.stdout).expect("ready")
        stack.run("down", "--remove-orphans")
        assert process.wait(MOMENT) == 137
    assert not os.path.exists(f"{stack.paths.locks}/{stack.name}.lock")
