"""The grammar of a Dockerfile: text -> instructions, each with its words and the line that it begins on.

    directive     # escape=` or # syntax=...        only before anything else
    instruction   NAME rest                         continued by an escape at the end of a line
    heredoc       RUN <<EOF, COPY <<"EOF" <<-B dst  the lines up to the delimiter belong to the instruction

Source of the rules: Dockerfile reference, "Format", "Parser directives", "Here-Documents". Comment lines
inside a continued instruction are dropped, empty ones as well. Nothing is expanded here (`words.py`,
`substitute.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = frozenset(
    "ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL"
    " USER VOLUME WORKDIR".split()
)
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.*?)\s*$")
_HEREDOC = re.compile(r"(?<![0-9<])[0-9]*<<(-?)([\"']?)([A-Za-z_][A-Za-z0-9_]*)\2")
_FLAG = re.compile(r"--([A-Za-z][A-Za-z0-9-]*)(?:=((?:\"[^\"]*\"|'[^']*'|\S)*))?(?:\s+|$)")
_MAX_BYTES = 8 << 20
_WITH_HEREDOC = ("RUN", "COPY", "ADD")


class Place(NamedTuple):
    """Where an instruction stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def error(self, message: str, *, hint: str | None = None) -> BuildError:
        return BuildError(f"{self}: {message}", hint=hint)


class Heredoc(NamedTuple):
    """Lines that follow an instruction."""

    name: str
    content: str
    expand: bool
    """False if the delimiter was quoted."""


class Instruction(NamedTuple):
    """One instruction; `text` is what follows its name and its flags."""

    name: str
    flags: tuple[tuple[str, str], ...]
    text: str
    heredocs: tuple[Heredoc, ...]
    place: Place
    original: str
    """As it is shown to people and kept in the history: one line, comments gone."""


class Dockerfile(NamedTuple):
    instructions: list[Instruction]
    escape: str


def parse(data: bytes, file: str) -> Dockerfile:
    """Take a Dockerfile apart; raises `BuildError` that begins with ``file:line``."""
    text = _text(data, file)
    lines = text.split("\n")
    escape, first = _directives(lines, file)
    instructions = list(_Reader(lines, first, file, escape).instructions())
    if not instructions:
        raise BuildError(f"{file}:1: the Dockerfile has no instruction")
    return Dockerfile(instructions, escape)


def _text(data: bytes, file: str) -> str:
    if len(data) > _MAX_BYTES:
        raise BuildError(f"{file}: larger than {_MAX_BYTES >> 20} MB")
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BuildError(f"{file}:{line}: not UTF-8") from error
    if "\0" in text:
        raise BuildError(f"{file}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: a NUL character")
    return text.replace("\r\n", "\n")


def _directives(lines: list[str], file: str) -> tuple[str, int]:
    """The escape character and the index of the first line that is no directive."""
    escape = "\\"
    seen: set[str] = set()
    for index, line in enumerate(lines):
        found = _DIRECTIVE.match(line.strip())
        if not found or (name := found[1].lower()) not in ("escape", "syntax", "check"):
            return escape, index
        if name in seen:
            raise BuildError(f"{file}:{index + 1}: the directive {name} is given twice")
        seen.add(name)
        if name == "escape":
            if found[2] not in ("\\", "`"):
                raise BuildError(f"{file}:{index + 1}: escape={found[2]}: it can be \\ or `")
            escape = found[2]
    return escape, len(lines)


class _Reader:
    def __init__(self, lines: list[str], first: int, file: str, escape: str) -> None:
        self._lines = lines
        self._next = first
        self._file = file
        self._escape = escape
        self._continued = re.compile(rf"(?<!{re.escape(escape)}){re.escape(escape)}[ \t]*$")

    def instructions(self) -> Iterator[Instruction]:
        while self._next < len(self._lines):
            line = self._lines[self._next].strip()
            if not line or line.startswith("#"):
                self._next += 1
                continue
            place = Place(self._file, self._next + 1)
            yield self._instruction(self._logical_line(), place)

    def _logical_line(self) -> str:
        """One instruction's lines joined; comments and empty lines within it are left out."""
        parts: list[str] = []
        while self._next < len(self._lines):
            line = self._lines[self._next]
            self._next += 1
            if parts and (not line.strip() or line.lstrip().startswith("#")):
                continue
            if not parts:
                line = line.lstrip()
            if not self._continued.search(line):
                parts.append(line)
                break
            parts.append(self._continued.sub("", line))
        return "".join(parts).strip()

    def _instruction(self, line: str, place: Place) -> Instruction:
        word, _, rest = line.replace("\t", " ", 1).partition(" ")
        name = word.upper()
        if name not in NAMES:
            raise place.error(f"unknown instruction {word}", hint=_suggestion(name))
        rest = rest.strip()
        heredocs = tuple(self._heredocs(rest, place)) if name in _WITH_HEREDOC else ()
        flags, text = _flags(rest, place)
        if not text and name not in ("CMD", "ENTRYPOINT"):  # an empty one of these takes the base's away
            raise place.error(f"{name} needs an argument")
        return Instruction(name, flags, text, heredocs, place, f"{name} {rest}".strip())

    def _heredocs(self, rest: str, place: Place) -> Iterator[Heredoc]:
        for found in _HEREDOC.finditer(_without_quoted(rest)):
            name = found[3]
            lines: list[str] = []
            while True:
                if self._next >= len(self._lines):
                    raise place.error(f"the here-document {name} does not end")
                line = self._lines[self._next]
                self._next += 1
                if found[1]:
                    line = line.lstrip("\t")
                if line == name:
                    break
                lines.append(line + "\n")
            yield Heredoc(name, "".join(lines), expand=not found[2])


def _without_quoted(text: str) -> str:
    """`text` with what is in quotes blanked, but for the quoted delimiter of a here-document."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if text[: found.start()].rstrip("-").endswith("<<") else " " * len(found[0])

    return re.sub(r"\"(?:\\.|[^\"\\])*\"|'[^']*'", blank, text)


def _flags(rest: str, place: Place) -> tuple[tuple[tuple[str, str], ...], str]:
    """The leading ``--name=value`` words and what follows them."""
    flags: list[tuple[str, str]] = []
    while rest.startswith("--"):
        if rest.startswith("-- "):
            return tuple(flags), rest[3:].lstrip()
        found = _FLAG.match(rest)
        if not found:
            raise place.error(f"the flag {rest.split()[0]} cannot be read")
        value = found[2] or ""
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        flags.append((found[1], value))
        rest = rest[found.end() :]
    return tuple(flags), rest.strip()


def _suggestion(name: str) -> str | None:
    import difflib

    close = difflib.get_close_matches(name, NAMES, 1)
    return f"did you mean {close[0]}?" if close else None
