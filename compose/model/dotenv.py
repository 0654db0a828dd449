"""The grammar of .env files, as docker compose reads it.

``NAME=value``, ``NAME: value``, ``export NAME=value``; ``NAME`` alone takes the value from the environment.
Unquoted values end at `` #`` or the end of the line; single quotes take everything as it stands, double
quotes know escapes; both may span lines. Unquoted and double-quoted values are interpolated, with the
environment before the file's own variables.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from compose.model.budget import Budget
from compose.model.interpolate import (
    MAX_TOTAL,
    InvalidTemplate,
    MissingVariable,
    Template,
    TooLong,
    unset_text,
)
from compose.model.tree import Position, error, not_utf_8

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.errors import ModelError

    Note = Callable[[str, Position, str], None]
    """Hears of each variable that is set: its name, where, and the value."""

MAX_SIZE = 1 << 20
"""Bytes of a file of variables; the kernel gives a program no more than 2 MiB of them."""

_BLANK = " \t\v\f\r\x85\xa0"
_NO_STATEMENT = re.compile(r"(?:\s++|#[^\n]*+)*+")
_PLAIN = {quote: re.compile(rf"[^\\{quote}]+") for quote in ("'", '"')}
_ESCAPE = re.compile(r"\\(?:[abcfnrtv$\"\\]|0[0-9]{0,3})")
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "$": "$$",
    '"': '"',
    "\\": "\\",
}


def parse(
    data: bytes,
    file: str,
    lookup: Callable[[str], str | None],
    known: dict[str, str] | None = None,
    note: Note | None = None,
    budget: Budget | None = None,
    warn: Callable[[Position, str], None] | None = None,
) -> dict[str, str]:
    """The variables of a file; added to `known`, which later values may refer to. `warn` hears of those that
    are used and not set."""
    budget = budget or Budget()
    text = _content(data, file, budget).decode("utf-8", "surrogateescape")
    parser = _Parser(text, file, lookup, {} if known is None else known, budget)
    parser.note = note
    parser.warn = warn
    return parser.parse()


def parse_raw(
    data: bytes,
    file: str,
    lookup: Callable[[str], str | None],
    known: dict[str, str],
    note: Note | None = None,
    budget: Budget | None = None,
) -> dict[str, str]:
    """``format: raw``: each line is NAME=VALUE as it stands; comments and empty lines are left out."""
    budget = budget or Budget()
    data = _content(data, file, budget)
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as problem:
        raise not_utf_8(data, problem, file) from None
    for number, line in enumerate(lines, 1):
        text = line.removesuffix("\r").lstrip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        place = Position(file, number, len(line) - len(line.lstrip()) + 1)
        budget.assigned(lambda: place)  # noqa: B023 (called at once)
        if not name or any(letter.isspace() for letter in name):
            what = f"`{name}` is not a name: it contains a space" if name else "there is no name before the ="
            raise error(place, (), what, "write NAME=value")
        found = value if equals else lookup(name)
        if found is not None:
            known[name] = found
            if note is not None:
                note(name, place, found)
    return known


def _content(data: bytes, file: str, budget: Budget) -> bytes:
    """What is in the file, without a byte order mark; counted, and refused when it is too large."""
    if len(data) > MAX_SIZE:
        raise error(
            Position(file, 0, 0),
            (),
            f"is larger than {MAX_SIZE >> 20} MiB",
            "it holds variables, one a line; keep data in other files",
        )
    budget.read(data, file)
    return data.removeprefix(b"\xef\xbb\xbf")


class _Parser:
    def __init__(
        self,
        text: str,
        file: str,
        lookup: Callable[[str], str | None],
        known: dict[str, str],
        budget: Budget,
    ) -> None:
        self.text = text
        self.file = file
        self.lookup = lookup
        self.known = known
        self.index = 0
        self.note: Note | None = None
        self.warn: Callable[[Position, str], None] | None = None
        self.start = 0
        self.told: set[str] = set()
        self.budget = budget
        self.line, self.counted, self.total = 1, 0, 0
        self.template = Template(self._value_of, self._unset, budget)

    def _value_of(self, name: str) -> str | None:
        found = self.lookup(name)
        return self.known.get(name) if found is None else found

    def _unset(self, name: str) -> None:
        if self.warn is not None and name not in self.told:
            self.told.add(name)
            self.warn(self._next_place(self.start), unset_text(name))

    def _at(self, index: int) -> Position:
        line = self.text.count("\n", 0, index) + 1
        return Position(self.file, line, index - (self.text.rfind("\n", 0, index) + 1) + 1)

    def _next_place(self, index: int) -> Position:
        """As `_at`, for places that come one after the other: counts only the lines in between."""
        self.line += self.text.count("\n", self.counted, index)
        self.counted = index
        return Position(self.file, self.line, index - self.text.rfind("\n", 0, index))

    def _error(self, index: int, problem: str, hint: str | None = None) -> ModelError:
        return error(self._at(index), (), problem, hint)

    def parse(self) -> dict[str, str]:
        while self._to_statement():
            start = self.start = self.index
            name, inherited = self._name()
            if " " in name:
                raise self._error(start, f"`{name}` is not a name: it contains a space", "write NAME=value")
            value = self.lookup(name) if inherited else self._value()
            self.budget.assigned(lambda: self._at(start))  # noqa: B023 (called at once)
            if value is not None:
                self.total += len(value)
                if self.total > MAX_TOTAL:
                    raise self._error(start, f"the values come to more than {MAX_TOTAL >> 20} MiB")
                self.known[name] = value
                if self.note is not None:
                    self.note(name, self._next_place(start), value)
        return self.known

    def _to_statement(self) -> bool:
        """Skip blanks, empty lines and comments; False at the end."""
        self.index = _NO_STATEMENT.match(self.text, self.index).end()  # type: ignore[union-attr]
        return self.index < len(self.text)

    def _name(self) -> tuple[str, bool]:
        exported = re.compile(r"export[ \t\v\f\r\x85\xa0\n]+").match(self.text, self.index)
        if exported:
            self.index = exported.end()
        start = self.index
        while self.index < len(self.text):
            character = self.text[self.index]
            if character in "=:\n":
                name = self.text[start : self.index].rstrip()
                self.index += 1
                while self.index < len(self.text) and self.text[self.index] in _BLANK:
                    self.index += 1
                return name, character == "\n"
            if not (character in _BLANK or character in "_.-[]" or character.isalnum()):
                raise self._error(
                    self.index,
                    f"`{character}` cannot stand in the name of a variable",
                    "write NAME=value, one a line; comments begin with #",
                )
            self.index += 1
        return self.text[start:].rstrip(), True

    def _value(self) -> str:
        quote = self.text[self.index : self.index + 1]
        start = self.index
        if quote not in ("'", '"') or not quote:
            end = self.text.find("\n", self.index)
            line = self.text[self.index : end if end >= 0 else len(self.text)]
            self.index = len(self.text) if end < 0 else end + 1
            return self._expand(line.partition(" #")[0].rstrip(), start)
        value = self._quoted(quote)
        if quote == '"':
            return self._expand(_ESCAPE.sub(_unescape, value), start)
        return value

    def _quoted(self, quote: str) -> str:
        start = self.index
        characters: list[str] = []
        index = start + 1
        while index < len(self.text):
            plain = _PLAIN[quote].match(self.text, index)
            if plain is not None:
                characters.append(plain.group())
                index = plain.end()
            elif self.text[index] == quote:
                self.index = index + 1
                return "".join(characters)
            else:
                escaped = self.text[index + 1 : index + 2]
                characters.append(escaped if escaped == quote else f"\\{escaped}")
                index += 2
        raise self._error(start, f"the value that begins with {quote} here has no closing {quote}")

    def _expand(self, value: str, start: int) -> str:
        try:
            return self.template.substitute(value)
        except InvalidTemplate as problem:
            raise self._error(start, f"invalid interpolation: {problem}", "write $$ for a dollar") from None
        except (MissingVariable, TooLong) as problem:
            raise self._error(start, str(problem)) from None


def _unescape(found: re.Match[str]) -> str:
    escape = found.group()[1:]
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    digits = escape[1:]
    if (
        escape[0] == "0"
        and len(digits) == 3
        and all(one in "01234567" for one in digits)
        and int(digits, 8) < 256
    ):
        return chr(int(digits, 8))
    return found.group()
