"""The command line as a user has it: a process, its exit code, what it wrote."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from tests.support import processes
from tests.support.patience import COMMAND, MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from compose.state.paths import Paths

PROGRAM = os.path.join(os.path.dirname(sys.executable), "pycompose")
PATIENCE = COMMAND
"""Seconds until a command counts as hanging."""


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


class Stack:
    """A directory with a compose file, and `pycompose` run in it."""

    def __init__(self, directory: Path, paths: Paths, image: str = "") -> None:
        self.directory = directory
        self.paths = paths
        self.image = image
        """The image that stands for ``IMAGE`` in a compose file."""
        self.environment: dict[str, str] = {}

    @property
    def name(self) -> str:
        """The project's name, that of the directory."""
        return self.directory.name

    @property
    def host_name(self) -> str:
        """What the project is called where all of the host meet."""
        return self.paths.host_name(self.name)

    def write(self, text: str, name: str = "compose.yaml") -> None:
        """Write a file of the project; ``IMAGE`` in it becomes the name of the tiny image."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("IMAGE", self.image), encoding="utf-8")

    def _environment(self) -> Mapping[str, str]:
        # Whoever runs the tests may have switched bytecode off; then each command would compile every module.
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "COMPOSE_"))}
        roots = {"PYCOMPOSE_DATA_DIR": self.paths.data, "PYCOMPOSE_RUN_DIR": self.paths.run}
        return kept | roots | self.environment

    def start(self, *arguments: str, prefix: Sequence[str] = (), **options: Any) -> subprocess.Popen[str]:
        """Start a command, its output in pipes; `prefix` is a program that executes it, with its options."""
        defaults: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        defaults |= {"stdin": subprocess.DEVNULL, "text": True, "cwd": self.directory}
        command = [*prefix, PROGRAM, *arguments]
        return subprocess.Popen(command, env=self._environment(), **(defaults | options))

    def try_run(
        self,
        *arguments: str,
        stdin: str | None = None,
        patience: float = PATIENCE,
        elsewhere: bool = False,
    ) -> Done:
        """Run a command to its end, whatever its exit code; `elsewhere` than in the project's directory."""
        source = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        directory = "/" if elsewhere else self.directory
        with self.start(*arguments, stdin=source, cwd=directory) as process:
            try:
                out, err = _communicate(process, stdin, patience)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                raise AssertionError(f"pycompose {arguments} hangs\n{out}\n{err}") from None
        return Done(process.returncode, out, err)

    def run(self, *arguments: str, stdin: str | None = None, patience: float = PATIENCE) -> str:
        """Run a command that must succeed; its standard output."""
        done = self.try_run(*arguments, stdin=stdin, patience=patience)
        assert done.code == 0, (
            f"pycompose {' '.join(arguments)}: exit code {done.code}\n{done.out}\n{done.err}"
        )
        return done.out

    def fails(self, *arguments: str, code: int = 1, patience: float = PATIENCE) -> str:
        """Run a command that must fail with `code`; its standard error."""
        done = self.try_run(*arguments, patience=patience)
        assert done.code == code, f"pycompose {' '.join(arguments)}: {done}"
        assert "Traceback" not in done.err
        return done.err

    def up(self, *arguments: str) -> str:
        """``up -d``; its standard error, where progress is."""
        done = self.try_run("up", "-d", *arguments)
        assert done.code == 0, f"pycompose up -d {' '.join(arguments)}: {done}"
        return done.err

    def ps(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """What ``ps`` knows, by container name."""
        lines = self.run("ps", "--format", "json", *arguments).splitlines()
        return {one["Name"]: one for one in map(json.loads, lines)}

    def ids(self) -> dict[str, str]:
        """The ids of the containers, stopped ones too, by name."""
        return {name: str(one["ID"]) for name, one in self.ps("--all").items()}

    def shell(self, service: str, script: str) -> str:
        """The output of a shell script in a service's container, without the last line's end."""
        return self.run("exec", "-T", service, "sh", "-c", script).rstrip("\n")

    def until_written(self, text: str, *services: str, times: int = 1) -> None:
        """Wait until containers, of some services or of all, have written `text` in so many lines."""
        with self.start("logs", "-f", *services) as process:
            try:
                lines = Lines(process.stdout)
                for _ in range(times):
                    lines.expect(text)
            finally:
                process.kill()

    @contextlib.contextmanager
    def terminal(self, *arguments: str, rows: int = 24, columns: int = 80) -> Iterator[Terminal]:
        """Run a command on a terminal of its own."""
        master, slave = pty.openpty()
        set_size(master, rows, columns)
        attributes = termios.tcgetattr(master)
        options: dict[str, Any] = {name: slave for name in ("stdin", "stdout", "stderr")}
        process = self.start(*arguments, start_new_session=True, preexec_fn=_own_terminal, **options)
        os.close(slave)
        terminal = Terminal(master, process, attributes)
        try:
            yield terminal
        finally:
            process.kill()
            process.wait()
            os.close(master)


def _communicate(process: subprocess.Popen[str], stdin: str | None, patience: float) -> tuple[str, str]:
    """`Popen.communicate` for a command that may wait for containers of killed helpers to end."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return process.communicate(stdin, timeout=1.0)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise
            processes.reap_adopted()
            stdin = None  # it has been taken


def _own_terminal() -> None:
    """In the child: make its standard input its controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def set_size(descriptor: int, rows: int, columns: int) -> None:
    """Tell a terminal its size; what runs on it gets SIGWINCH."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """The other side of a command's terminal: what a person sees and types."""

    def __init__(self, descriptor: int, process: subprocess.Popen[str], attributes: list[Any]) -> None:
        self.descriptor = descriptor
        self.process = process
        self.attributes = attributes
        """As they were before the command began."""
        self.seen = ""

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self.descriptor, text.encode())

    def expect(self, text: str, patience: float = MOMENT) -> str:
        """Wait until `text` is on the screen; everything up to and with it, which is then forgotten."""
        deadline = time.monotonic() + patience
        while text not in self.seen:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
                raise AssertionError(f"no {text!r} within {patience} s, but {self.seen!r}")
            try:
                data = os.read(self.descriptor, 1 << 16)
            except OSError:  # EIO: nobody has the terminal open any more
                data = b""
            if not data:
                raise AssertionError(f"the command ended without {text!r}: {self.seen!r}")
            self.seen += data.decode("utf-8", "replace")
        before, found, self.seen = self.seen.partition(text)
        return before + found

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the window."""
        set_size(self.descriptor, rows, columns)

    def close(self) -> None:
        """Close the window: the command is hung up on."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, self.descriptor, inheritable=False)
        os.close(null)

    def ends(self, patience: float = MOMENT) -> int:
        """Wait for the command's end, reading what it still writes; its exit code."""
        deadline = time.monotonic() + patience
        while select.select([self.descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                data = os.read(self.descriptor, 1 << 16)
            except OSError:
                break
            if not data:
                break
            self.seen += data.decode("utf-8", "replace")
        return self.process.wait(max(0.1, deadline - time.monotonic()))


class Lines:
    """The lines that a running command writes, waited for one by one."""

    def __init__(self, stream: IO[str] | None) -> None:
        assert stream is not None
        self._descriptor = stream.fileno()
        self._text = ""

    def expect(self, text: str, patience: float = MOMENT) -> str:
        """Wait for a line with `text` in it; returns that line, the ones before it are forgotten."""
        deadline = time.monotonic() + patience
        while True:
            while "\n" in self._text:
                line, _, self._text = self._text.partition("\n")
                if text in line:
                    return line
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
                raise AssertionError(f"no line with {text!r} within {patience} s, only {self._text!r}")
            data = os.read(self._descriptor, 1 << 16)
            if not data:
                raise AssertionError(f"the command ended without a line with {text!r}")
            self._text += data.decode("utf-8", "replace")
