"""How a plan fares: one line a change where nobody looks, a region that is redrawn on a terminal.

Everything goes to standard error, so that standard output belongs to what was asked for, unless
COMPOSE_STATUS_STDOUT wants it there.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from compose.plan.actions import WORDS
from compose.ui.errors import json_line
from compose.ui.streams import is_set, say
from compose.ui.terminal import RESET, colours, printable

if TYPE_CHECKING:
    from typing import TextIO

    from compose.errors import ComposeError
    from compose.plan.plan import Operation


class Plain:
    """A line whenever something is done: for files, pipes and continuous integration."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def started(self, operation: Operation) -> None:
        words = WORDS[type(operation.action)]
        self._line(words.kind, operation.action.target, words.doing)

    def finished(self, operation: Operation) -> None:
        words = WORDS[type(operation.action)]
        self._line(words.kind, operation.action.target, words.done)

    def failed(self, operation: Operation, error: ComposeError) -> None:
        self._line(WORDS[type(operation.action)].kind, operation.action.target, "Error")

    def detail(self, what: str, status: str, fraction: float | None) -> None:
        """A step inside an operation, such as a line of a build; a repeated one is not shown again."""
        status = status.rstrip()
        if self._last.get(what) != status:
            self._last[what] = status
            lines = (f" {printable(what)} | {printable(line)}\n" for line in status.splitlines())
            say("".join(lines), _stream())

    def unchanged(self, kind: str, target: str, status: str) -> None:
        """Something that is as it should be."""
        self._line(kind, target, status)

    def close(self) -> None:
        pass

    def _line(self, kind: str, target: str, status: str) -> None:
        say(f" {kind} {printable(target)}  {status}\n", _stream())


class Json(Plain):
    """One JSON object a line, with the members that docker compose has."""

    def failed(self, operation: Operation, error: ComposeError) -> None:
        words = WORDS[type(operation.action)]
        self._say(f"{words.kind} {operation.action.target}", status="Error", text=error.message)

    def detail(self, what: str, status: str, fraction: float | None) -> None:
        status = status.rstrip()
        if self._last.get(what) != status:
            self._last[what] = status
            percent = {} if fraction is None else {"percent": int(fraction * 100)}
            self._say(what, text=status, **percent)

    def _line(self, kind: str, target: str, status: str) -> None:
        self._say(f"{kind} {target}", status=status)

    def _say(self, identity: str, **members: str | int) -> None:
        say(json_line({"id": identity, **members}), _stream())


class Quiet(Plain):
    """Nothing at all: errors come from elsewhere."""

    def detail(self, what: str, status: str, fraction: float | None) -> None:
        pass

    def _line(self, kind: str, target: str, status: str) -> None:
        pass


class Unmentioned:
    """Another reporter without one object, of which its user hears enough."""

    def __init__(self, reporter: Plain | Terminal, target: str) -> None:
        self._reporter = reporter
        self._target = target

    def started(self, operation: Operation) -> None:
        if operation.action.target != self._target:
            self._reporter.started(operation)

    def finished(self, operation: Operation) -> None:
        if operation.action.target != self._target:
            self._reporter.finished(operation)

    def failed(self, operation: Operation, error: ComposeError) -> None:
        if operation.action.target != self._target:
            self._reporter.failed(operation, error)

    def close(self) -> None:
        self._reporter.close()


class _Row:
    __slots__ = ("begun", "detail", "ended", "failed", "kind", "status", "target")

    def __init__(self, kind: str, target: str) -> None:
        self.kind = kind
        self.target = target
        self.begun = time.monotonic()
        self.ended: float | None = None
        self.failed = False
        self.status = ""
        self.detail = ""


class Terminal:
    """A row an object, redrawn in place when something changes; never wider or higher than the terminal."""

    def __init__(self, stream: TextIO, title: str) -> None:
        self._stream = stream
        self._title = title
        self._colour = colours(stream)
        self._rows: dict[tuple[str, str], _Row] = {}
        self._height = 0
        self._lines: list[str] = []
        self._drawn = 0.0

    def started(self, operation: Operation) -> None:
        row = self._row(operation)
        row.status = WORDS[type(operation.action)].doing
        row.ended = None
        self._draw()

    def finished(self, operation: Operation) -> None:
        row = self._row(operation)
        row.status = WORDS[type(operation.action)].done
        row.ended = time.monotonic()
        row.detail = ""
        self._draw()

    def failed(self, operation: Operation, error: ComposeError) -> None:
        row = self._row(operation)
        row.status = "Error"
        row.failed = True
        row.ended = time.monotonic()
        self._draw()

    def detail(self, what: str, status: str, fraction: float | None) -> None:
        """The last line of a build or a download stands behind its object."""
        lines = status.rstrip().splitlines()
        percent = f"{fraction:4.0%} " if fraction is not None else ""
        text = percent + printable(lines[-1] if lines else "")
        for row in self._rows.values():
            if row.target == what and row.ended is None:
                row.detail = text
        if time.monotonic() - self._drawn > 0.05:
            self._draw()

    def unchanged(self, kind: str, target: str, status: str) -> None:
        """Something that is as it should be."""
        row = self._rows.setdefault((kind, target), _Row(kind, target))
        row.status, row.ended = status, row.begun

    def close(self) -> None:
        self._draw()

    def _row(self, operation: Operation) -> _Row:
        key = (WORDS[type(operation.action)].kind, operation.action.target)
        return self._rows.setdefault(key, _Row(*key))

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        if not self._rows:
            return
        width, height = _size(self._stream)
        done = sum(row.ended is not None for row in self._rows.values())
        lines = [f"[+] {self._title} {done}/{len(self._rows)}"]
        rows = list(self._rows.values())
        room = max(height - 2, 1)
        if len(rows) > room:  # what still runs is what a person wants to see
            rows = sorted(rows, key=lambda row: row.ended is not None)[:room]
        lines += [self._text(row, width) for row in rows]
        if lines == self._lines:
            return
        back = f"\x1b[{self._height}A" if self._height else ""
        say(back + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[0J", self._stream)
        self._height = len(lines)
        self._lines = lines

    def _text(self, row: _Row, width: int) -> str:
        seconds = (row.ended or time.monotonic()) - row.begun
        mark = "✘" if row.failed else "✔" if row.ended is not None else "⠿"
        name = f"{row.kind} {printable(row.target)}"
        text = f" {mark} {name:<30}  {row.status:<9} {seconds:5.1f}s {row.detail}"[: width - 1]
        if not self._colour:
            return text
        number = 31 if row.failed else 32 if row.ended is not None else 36
        return f"\x1b[{number}m{text}{RESET}"


def _size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except OSError:
        return 80, 24
    return size.columns or 80, size.lines or 24


def _stream() -> TextIO:
    return sys.stdout if is_set("COMPOSE_STATUS_STDOUT") else sys.stderr


def reporter(title: str, mode: str = "auto") -> Plain | Terminal:
    """The reporter for ``--progress``: ``auto``, ``tty``, ``plain``, ``json`` or ``quiet``."""
    stream = _stream()
    if mode == "quiet":
        return Quiet()
    if mode == "json":
        return Json()
    if mode == "tty" or (mode == "auto" and stream.isatty() and os.environ.get("TERM") != "dumb"):
        return Terminal(stream, title)
    return Plain()
