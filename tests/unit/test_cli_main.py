"""Odd command lines and odd standard streams: an exit code and one line, never a traceback."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from compose.cli import main as cli
from compose.cli.switch import add_switch
from compose.errors import ComposeError, UsageError
from compose.runtime.loop import Loop
from compose.ui import terminal, times
from compose.ui.errors import complain

if TYPE_CHECKING:
    from pathlib import Path

FILE = "services: {web: {image: some}, named: {image: some, container_name: one}}\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "compose.yaml").write_text(FILE, encoding="utf-8")
    return tmp_path


def command(directory: Path, *arguments: str, script: str = "", **options: Any) -> tuple[int, str]:
    """Exit code and standard error of a command; `script` is a shell's, with the command in ``"$@"``."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    environment |= {"PYCOMPOSE_DATA_DIR": f"{directory}/data", "PYCOMPOSE_RUN_DIR": f"{directory}/run"}
    environment |= options.pop("environment", {})
    words = [sys.executable, "-m", "compose", *arguments]
    if script:
        words = ["bash", "-o", "pipefail", "-c", script, "sh", *words]
    done = subprocess.run(
        words, cwd=directory, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options
    )
    return done.returncode, done.stderr.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "arguments",
    [
        ["logs", "--since", "²"],
        ["logs", "--since", "9" * 400],
        ["logs", "--since", "0001-01-01T00:00:00"],
        ["up", "-d", "--scale", "web=²"],
        ["up", "-d", "--scale", "nosuch=2"],
        ["up", "-d", "--scale", "named=2"],
        ["down", "-t", "nan"],
        ["down", "-t", "inf"],
        ["down", "-t", "1e300"],
        ["up", "--wait-timeout", "nan"],
        ["up", "-d", "--abort-on-container-exit"],
        ["up", "--wait", "--attach", "web"],
        ["up", "--always-recreate-deps", "--no-recreate"],
        ["up", "--exit-code-from", "nosuch"],
        ["up", "--attach", "nosuch"],
        ["up", "--pull", "sometimes"],
        ["scale", "web=x"],
        ["create", "--build", "--no-build"],
        ["run", "-P", "-p", "80", "web"],
    ],
)
def test_numbers_that_are_none_are_mistakes_of_the_command_line(
    directory: Path, arguments: list[str]
) -> None:
    code, said = command(directory, *arguments)
    assert code == 2
    assert said.startswith("pycompose: ") and "Traceback" not in said


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (["-a"], (True, True, [])),
        (["--all=true", "--pause=false", "x"], (True, False, ["x"])),
        (["-a=0", "--pause=1"], (False, True, [])),
        (["-a=F", "--pause=T", "x", "-a=true"], (False, True, ["x", "-a=true"])),
    ],
)
def test_what_is_on_or_off_may_be_said_in_words(given: list[str], wanted: tuple[bool, bool, Any]) -> None:
    parser = cli._Parser()
    parser.add_argument("-a", "--all", action="store_true")
    add_switch(parser, "pause", default=True, help="")
    parser.add_argument("rest", nargs="...")
    options = parser.read(given)
    assert (options.all, options.pause, options.rest) == wanted
    with pytest.raises(UsageError):
        parser.read(["--all=maybe"])


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--progress", "fast"], {}),
        ([], {"COMPOSE_PROGRESS": "fast"}),
        ([], {"COMPOSE_PARALLEL_LIMIT": "x"}),
        (["--ansi", "never", "--progress", "tty"], {}),
        (["--ansi", "always", "--progress", "plain"], {}),
    ],
)
def test_settings_that_make_no_sense_are_refused_wherever_they_stand(
    directory: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    code, said = command(directory, *arguments, "ps", environment=environment)
    assert code == 2
    assert said.startswith("pycompose: ") and "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "environment", "word"),
    [
        (["--ansi", "sometimes", "ps"], {}, "--ansi sometimes"),
        (["ps"], {"COMPOSE_ANSI": "sometimes"}, "--ansi sometimes"),
        (["--progress", "json", "--ansi", "sometimes", "ps"], {}, '"msg":"--ansi sometimes'),
        (["logs", "--tail", "2x"], {}, "--tail 2x"),
        (["logs", "--tail", "²"], {}, "--tail ²"),
    ],
)
def test_words_that_docker_compose_passes_over_are_warned_of(
    directory: Path, arguments: list[str], environment: dict[str, str], word: str
) -> None:
    code, said = command(directory, *arguments, environment=environment)
    assert code == 0
    assert word in said.splitlines()[0] and "warning" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["logs", "--tail", "-1"],
        ["logs", "-n", "-5"],
        ["logs", "--tail="],
        ["logs", "--tail", "+2"],
        ["--parallel", "0", "ps", "-q"],
        ["--parallel=-1", "ps", "-q"],
        ["--compatibility=false", "ps", "-q"],
        ["--all-resources=0", "ps", "-q"],
    ],
)
def test_what_docker_compose_takes_is_taken_without_a_word(directory: Path, arguments: list[str]) -> None:
    assert command(directory, *arguments) == (0, "")


def test_settings_may_stand_in_the_env_file_below_the_environment(directory: Path) -> None:
    (directory / ".env").write_text("COMPOSE_PROGRESS=json\n", encoding="utf-8")
    assert command(directory, "nosuch")[1].startswith("{")
    assert command(directory, "nosuch", environment={"COMPOSE_PROGRESS": "plain"})[1].startswith(
        "pycompose: "
    )
    assert command(directory, "--progress", "quiet", "nosuch")[1].startswith("pycompose: ")


def test_errors_and_warnings_are_json_where_progress_is(directory: Path) -> None:
    (directory / "compose.yaml").write_text(FILE + "# $$\nx-a: ${NOPE}\n", encoding="utf-8")
    code, said = command(directory, "--progress", "json", "stop", "nosuch")
    warning, error = map(json.loads, said.splitlines())
    assert code == 2
    assert warning["level"] == "warning" and "NOPE" in warning["msg"]
    assert error["error"] is True and error["message"] == "no such service: nosuch"


def test_colours_are_as_the_user_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for ansi, expected in (("always", True), ("auto", False), ("never", False)):
        terminal.set_colours(ansi)
        assert terminal.colours(sys.stdout) is expected
    terminal.set_colours("auto")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", [["ps"], ["logs"], ["ls"], ["config"], ["--help"]])
def test_closed_standard_streams_are_no_error(directory: Path, arguments: list[str], closed: str) -> None:
    code, said = command(directory, *arguments, script=f'"$@" {closed}')
    assert (code, said) == (0, "")


@pytest.mark.parametrize("arguments", [["ps"], ["config"], ["--help"], ["version"]])
def test_a_reader_that_has_gone_ends_a_command_quietly(directory: Path, arguments: list[str]) -> None:
    code, said = command(directory, *arguments, script='exec 3> >(:); wait $!; "$@" >&3')
    assert (code, said) == (141, "")


def test_a_full_disk_behind_standard_output_is_one_line(directory: Path) -> None:
    code, said = command(directory, "version", script='"$@" >/dev/full')
    assert (code, said) == (1, "pycompose: No space left on device\n")


def test_nobody_has_to_read_the_errors(directory: Path) -> None:
    code, said = command(directory, "nosuch", script='exec 3> >(:); wait $!; "$@" 2>&3')
    assert (code, said) == (2, "")


def test_a_defect_of_ours_is_one_line_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def defect(options: object) -> int:
        raise ExceptionGroup("tasks", [KeyError("what")])

    monkeypatch.setattr(cli, "_run", defect)
    assert cli.main(["ps"]) == 1
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "pycompose: internal error: KeyError: 'what'"
    with pytest.raises(ExceptionGroup):
        cli.main(["--debug", "ps"])


BREAKS = """
import sys
from compose import __main__
from compose.cli import main
class Broken:
    def __del__(self):
        raise OSError("once more")
main.main = lambda arguments: Broken() and 1
sys.argv = ["pycompose", *sys.argv[1:]]
sys.exit(__main__.main())
"""


@pytest.mark.parametrize("debug", [False, True])
def test_what_an_error_leaves_behind_is_told_on_request(debug: bool) -> None:
    arguments = [sys.executable, "-c", BREAKS, *["--debug"] * debug]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1
    assert ("once more" in done.stderr) is debug


def test_debug_of_a_command_inside_is_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["nosuch", "--debug"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_what_an_image_says_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    complain(ComposeError("container is unhealthy: \x1b]0;owned\x07", hint="first\nsecond \x9b31m"))
    said = capsys.readouterr().err
    assert not [c for c in said if not (c.isprintable() or c == "\n")]
    assert said.count("\n") == 3


def test_text_that_is_none_is_printed_as_it_came(directory: Path) -> None:
    name = os.fsencode(str(directory)) + b"/\xff\xfe.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "compose", "-f", name, "config"],
        capture_output=True,
        env=os.environ | {"LC_ALL": "C.UTF-8", "PYCOMPOSE_DATA_DIR": f"{directory}/data"},
    )
    assert done.returncode == 1
    assert b"\xff\xfe.yaml" in done.stderr or "\N{REPLACEMENT CHARACTER}".encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_config_needs_no_place_of_ours(directory: Path) -> None:
    nowhere = {"PYCOMPOSE_DATA_DIR": "/proc/nowhere", "HOME": ""}
    assert command(directory, "config", environment=nowhere) == (0, "")


def test_a_command_that_needs_a_place_and_has_none_says_so(directory: Path) -> None:
    nowhere = {"PYCOMPOSE_RUN_DIR": "/proc/nowhere"}
    code, said = command(directory, "up", "-d", environment=nowhere)
    assert (code, said) == (1, "pycompose: No such file or directory: /proc/nowhere\n")


def test_seconds_have_bounds() -> None:
    assert times.seconds("1.5") == 1.5
    assert times.seconds("-1") == -1


def test_a_timer_in_the_far_future_does_not_end_a_loop() -> None:
    loop = Loop()
    reader, writer = os.pipe()
    try:
        loop.after(1e9, lambda: None)
        loop.reader(reader, loop.stop)
        threading.Timer(0.01, os.write, (writer, b"x")).start()
        loop.run()
        assert select.select([reader], [], [], 0)[0]
    finally:
        loop.close()
        os.close(reader)
        os.close(writer)


def test_the_locale_that_python_sets_for_itself_is_no_variable_of_the_user(directory: Path) -> None:
    bare = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    words = [sys.executable, "-m", "compose", "config", "--environment"]
    for given, expected in ({}, False), ({"LC_CTYPE": "C.UTF-8"}, True):
        done = subprocess.run(
            words, cwd=directory, env=bare | given, capture_output=True, text=True, check=True
        )
        assert ("LC_CTYPE=" in done.stdout) is expected
