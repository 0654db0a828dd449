"""``$VAR``, ``${VAR}`` and their operators, in values only; then the casts that turn strings into numbers.

Compose specification, 12-interpolation. The operators are ``:-`` ``-`` ``:?`` ``?`` ``:+`` ``+``; operands
are interpolated in their turn, and only when they are used. ``$$`` is a dollar. A ``$`` before anything
else stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from compose.errors import ModelError
from compose.model.budget import MAX_USES, Budget
from compose.model.tree import Map, Path, Position, Seq, error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_NESTING = 64
MAX_LENGTH = 1 << 20
"""Characters of a value with variables, before and after: some lines that double each other fill memories."""
MAX_TOTAL = 32 << 20
"""What all values of a load that hold variables may come to."""

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_BRACE = re.compile(r"[{}]")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")


class InvalidTemplate(Exception):
    """The text is not a template; the message says what is wrong with it."""


class TooLong(Exception):
    """The values come to more than anybody means."""


class MissingVariable(Exception):
    """``${VAR:?message}``: the variable is needed and not there."""


class Template:
    """Substitutes variables; `lookup` returns None for what is not set, `unset` hears of what is missing."""

    __slots__ = ("budget", "lookup", "unset")

    def __init__(
        self,
        lookup: Callable[[str], str | None],
        unset: Callable[[str], None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.lookup = lookup
        self.unset = unset
        self.budget = budget or Budget()

    def substitute(self, text: str) -> str:
        """The text with its variables replaced; raises InvalidTemplate, MissingVariable or TooLong."""
        if "$" not in text:
            return text
        if len(text) > MAX_LENGTH:
            raise TooLong(f"is longer than {MAX_LENGTH >> 20} MiB, and holds variables")
        self.budget.uses -= text.count("$")
        if self.budget.uses < 0:
            raise TooLong(f"more than {MAX_USES} uses of variables in all")
        return self._part(text, 0, len(text), 0, closing_braces(text))

    def _part(self, text: str, index: int, end: int, depth: int, closings: Mapping[int, int]) -> str:
        """What a part of the text comes to."""
        if depth > MAX_NESTING:
            raise InvalidTemplate(f"variables are nested more than {MAX_NESTING} levels deep")
        result = []
        length = 0
        while True:
            dollar = text.find("$", index, end)
            if dollar < 0:
                result.append(text[index:end])
                return "".join(result)
            result.append(text[index:dollar])
            value, index = self._one(text, dollar, end, depth, closings)
            result.append(value)
            length += len(value)
            if length > MAX_LENGTH:
                raise TooLong(f"comes to more than {MAX_LENGTH >> 20} MiB")

    def _one(
        self, text: str, dollar: int, end: int, depth: int, closings: Mapping[int, int]
    ) -> tuple[str, int]:
        following = text[dollar + 1 : dollar + 2] if dollar + 1 < end else ""
        if following == "$":
            return "$", dollar + 2
        if following == "{":
            closing = closings.get(dollar + 1)
            if closing is None:
                raise InvalidTemplate(f"`{_shorten(text[dollar:])}` is not closed with `}}`")
            return self._braced(text, dollar + 2, closing, depth, closings), closing + 1
        name = _NAME.match(text, dollar + 1, end)
        if name is None:
            return "$", dollar + 1
        return self._plain(name.group()), name.end()

    def _plain(self, name: str) -> str:
        value = self.lookup(name)
        if value is None:
            if self.unset is not None:
                self.unset(name)
            return ""
        return value

    def _braced(self, text: str, index: int, end: int, depth: int, closings: Mapping[int, int]) -> str:
        """What stands between the braces: a name, and perhaps an operator with its operand."""
        found = _NAME.match(text, index, end)
        if found is None:
            raise InvalidTemplate(
                f"`${{{_shorten(text[index:end])}}}` does not begin with the name of a variable"
            )
        name, after = found.group(), found.end()
        if after == end:
            return self._plain(name)
        operator = next((one for one in _OPERATORS if text.startswith(one, after, end)), None)
        if operator is None or text.find("\n", after, end) >= 0:
            what = "has a line break" if operator else f"has `{_shorten(text[after:end])}` after the name"
            raise InvalidTemplate(f"`${{{_shorten(text[index:end])}}}` {what}")
        operand = after + len(operator)
        value = self.lookup(name)
        there = value is not None and (value != "" or operator[0] != ":")
        if operator[-1] == ("+" if there else "-"):
            return self._part(text, operand, end, depth + 1, closings)
        if operator[-1] == "?" and not there:
            reason = self._part(text, operand, end, depth + 1, closings)
            raise MissingVariable(f"the variable {name} is needed" + (f": {reason}" if reason else ""))
        return value or ""


def closing_braces(text: str) -> dict[int, int]:
    """Where each brace that is opened is closed: the index of the one by that of the other."""
    closings: dict[int, int] = {}
    opened: list[int] = []
    for brace in _BRACE.finditer(text) if "${" in text else ():
        if brace.group() == "{":
            opened.append(brace.start())
        elif opened:
            closings[opened.pop()] = brace.start()
    return closings


def _shorten(text: str) -> str:
    text = text.replace("\n", " ")
    return text if len(text) <= 40 else f"{text[:37]}..."


def unset_text(name: str) -> str:
    """What there is to say of a variable that is used and not set."""
    return f"the variable {name} is not set, an empty string is used; `${{{name}:-}}` says so quietly"


class Interpolator:
    """Interpolates a tree in place and remembers which unset variables it has warned of."""

    def __init__(
        self,
        lookup: Callable[[str], str | None],
        warn: Callable[[Position, str], None],
        budget: Budget | None = None,
    ) -> None:
        self._lookup = lookup
        self._warn = warn
        self._warned: set[str] = set()
        self._total = [0]
        self._at: Position | None = None
        self._template = Template(lookup, self._unset, budget)

    def with_lookup(self, lookup: Callable[[str], str | None]) -> Interpolator:
        """An interpolator with other values that warns of the same variable only once."""
        other = Interpolator(lookup, self._warn, self._template.budget)
        other._warned = self._warned
        other._total = self._total
        return other

    def _unset(self, name: str) -> None:
        if name not in self._warned and self._at is not None:
            self._warned.add(name)
            self._warn(self._at, unset_text(name))

    def text(self, text: str, at: Position, path: Path) -> str:
        """One string interpolated."""
        self._at = at
        try:
            result = self._template.substitute(text)
            self._total[0] += len(result)
            if self._total[0] > MAX_TOTAL:
                raise TooLong(f"the values with variables come to more than {MAX_TOTAL >> 20} MiB")
            return result
        except TooLong as problem:
            raise error(at, path, str(problem), "keep data in files beside the compose file") from None
        except InvalidTemplate as problem:
            raise error(at, path, f"invalid interpolation: {problem}", "write $$ for a dollar") from None
        except MissingVariable as problem:
            raise error(at, path, str(problem), "set it in the environment or in .env") from None

    def tree(self, tree: Map) -> None:
        """Every string value of a tree interpolated, in place."""
        self._container(tree, ())

    def _container(self, container: Map | Seq, path: Path) -> None:
        entries: Any = container.items() if isinstance(container, Map) else enumerate(container)
        for key, value in entries:
            if isinstance(value, str):
                if "$" in value:
                    at: Any = container.where(key)
                    at = at[1] if isinstance(container, Map) else at
                    container[key] = self.text(value, at, (*path, key))
            elif isinstance(value, (Map, Seq)):
                self._container(value, (*path, key))


def lookup_in(values: dict[str, str], fallback: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """A look-up that asks `fallback` first, then `values`."""

    def lookup(name: str) -> str | None:
        found = fallback(name)
        return values.get(name) if found is None else found

    return lookup


__all__ = [
    "InvalidTemplate",
    "Interpolator",
    "MissingVariable",
    "ModelError",
    "Template",
    "TooLong",
    "lookup_in",
]
