"""What comes out of a container and what goes into it: FIFOs, terminal, standard input.

    stdout, stderr    FIFOs in the container's run directory -> segments (output.py)
    a terminal        its master -> a pipe -> segments; what waits in the pipe outlives us, bytes in our
    memory
                      would not

All of it is held by the keeper too, so that a successor goes on with the next byte.
"""

from __future__ import annotations

import os

from compose.runtime.output.segments import STDERR, STDOUT, Held, Output, make_fifo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from compose.runtime.loop import Loop
    from compose.runtime.spec import ContainerSpec, Logging
    from compose.state.paths import Paths

    class Deposit(Protocol):
        """Where a monitor's descriptors are held that have to outlive it: its link to the keeper."""

        def own(self, name: str) -> list[int]: ...

        def put_own(self, named: dict[str, list[int]]) -> None: ...


_FIFOS = (("stdout", STDOUT), ("stderr", STDERR))
_RETRY_OUTPUT = 1.0
"""Seconds until a full disk is tried again."""
_RETRY_TERMINAL = 0.05
_RETRY_HELD = 0.005
_CHUNK = 65536
_UNREADABLE: Logging = {"driver": "none", "max_size": 1 << 20, "max_files": 1}
"""What is kept of a container without a log, for whoever is attached to it."""


class Streams:
    """The streams of one container, over all of its runs."""

    def __init__(self, loop: Loop, deposit: Deposit, paths: Paths, identity: str) -> None:
        self._loop = loop
        self._deposit = deposit
        self._directory = paths.container_run(identity)
        self._log = f"{paths.container(identity)}/log"
        self._output: Output | None = None
        self.on_output: Callable[[], None] = _nobody
        """Called when something has been moved."""
        self._sources: list[tuple[int, int]] = []
        self._terminal = False
        self._stdin_open = False

    def prepare(self, spec: ContainerSpec) -> None:
        """Make what is not there yet, and begin to move output. Raises `OSError`."""
        process = spec["oci"]["process"]
        self._terminal = bool(process.get("terminal"))
        self._stdin_open = bool(spec.get("stdin_open"))
        logging = spec.get("logging") or {"driver": "json-file", "max_size": 0, "max_files": 1}
        if logging["driver"] == "none":
            logging = _UNREADABLE
        self._output = Output(self._log, logging["max_size"], logging["max_files"])
        fresh: dict[str, list[int]] = {}
        if self._terminal:
            pipe = self._deposit.own("pipe")
            if not pipe:
                fresh["pipe"] = pipe = list(os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC))
            self._sources = [(pipe[0], STDOUT)]
        else:
            user = process.get("user") or {}
            owner = 0 if user.get("username") else int(user.get("uid", 0))
            for name, stream in _FIFOS:
                fifo = self._deposit.own(name)
                if not fifo:
                    fresh[name] = fifo = [make_fifo(f"{self._directory}/{name}", owner)]
                self._sources.append((fifo[0], stream))
        self._deposit.put_own(fresh)
        for source, stream in self._sources:
            self._read_from(source, stream)
        for master in self._deposit.own("terminal"):
            self.read_terminal(master)

    def open(self) -> tuple[list[int], dict[str, list[int]]]:
        """What the container gets as 0, 1 and 2, to be closed after the launch; and what is new for the
        keeper."""
        fresh: dict[str, list[int]] = {}
        if self._stdin_open and not self._terminal:
            stdin, write = os.pipe2(os.O_CLOEXEC)
            fresh["stdin"] = [write]
        else:
            stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        if self._terminal:
            return [stdin, stdin, stdin], fresh
        # Also for reading: when everybody who reads has been killed it waits, instead of ending by SIGPIPE.
        # Not by name: the run directory may have been deleted.
        flags = os.O_RDWR | os.O_CLOEXEC
        output = [os.open(f"/proc/self/fd/{source}", flags) for source, _stream in self._sources]
        return [stdin, *output], fresh

    def read_terminal(self, master: int) -> None:
        """Begin to move what comes from a terminal."""
        os.set_blocking(master, False)
        pipe = self._deposit.own("pipe")[1]

        def readable() -> None:
            if not _move(master, pipe):  # the pipe is full, or nobody has the other side open
                self._loop.forget(master)
                self._loop.after(_RETRY_TERMINAL, lambda: self._read_terminal_again(master))

        self._loop.reader(master, readable)

    def tell_losses(self, *, runs: bool) -> None:
        """Say in the log what died with monitor and keeper, when these were killed together."""
        if not runs:
            lost = "what the container wrote last may be missing"
        elif self._terminal:
            lost = "the container's terminal is lost"
        elif self._stdin_open:
            lost = "the container's standard input has ended"
        else:
            return
        try:
            self.output.say(f"pycompose: its monitor and keeper were killed together: {lost}")
        except OSError:  # a full disk
            return

    def drain(self) -> None:
        """Move everything that the container, which has ended, has written."""
        assert self._output is not None
        try:
            for master in self._deposit.own("terminal"):
                while _move(master, self._deposit.own("pipe")[1]):
                    self._output.drain(self._sources)
            self._output.drain(self._sources)
        except OSError:  # the disk is full
            if self._output.make_room():
                self.drain()

    @property
    def output(self) -> Output:
        """What is written to, once `prepare` was called."""
        assert self._output is not None
        return self._output

    @property
    def terminal(self) -> bool:
        """Whether the container has a terminal."""
        return self._terminal

    def close(self) -> None:
        """Close the log."""
        if self._output is not None:
            self._output.close()

    def _read_from(self, source: int, stream: int) -> None:
        self._loop.reader(source, lambda: self._pump(source, stream))

    def _pump(self, source: int, stream: int) -> None:
        assert self._output is not None
        try:
            if self._output.pump(source, stream):
                self.on_output()
        except Held:
            self.on_output()  # whoever is behind has something to read
            self._loop.forget(source)
            self._loop.after(_RETRY_HELD, lambda: self._read_from(source, stream))
        except OSError:
            if not self._output.make_room():  # the disk is full: the container waits until it is not
                self._loop.forget(source)
                self._loop.after(_RETRY_OUTPUT, lambda: self._read_from(source, stream))

    def _read_terminal_again(self, master: int) -> None:
        if master in self._deposit.own("terminal"):
            self.read_terminal(master)


def _nobody() -> None:
    """No one is attached."""


def _move(master: int, pipe: int) -> int:
    """Bytes moved from a terminal into a pipe: 0 when there are none, the pipe is full, or (EIO) nobody has
    the terminal open."""
    try:
        return os.splice(master, pipe, _CHUNK, flags=os.SPLICE_F_NONBLOCK)
    except OSError:
        return 0
