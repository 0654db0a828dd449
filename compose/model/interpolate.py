"""``$VAR``, ``${VAR}`` and their operators, in values only; then the casts that turn strings into numbers.

Compose specification, 12-interpolation. The operators are ``:-`` ``-`` ``:?`` ``?`` ``:+`` ``+``; operands
are interpolated in their turn, and only when they are used. ``$$`` is a dollar. A ``$`` before anything
else stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from compose.errors import ModelError
from compose.model.tree import Map, Path, Position, Seq, error

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NESTING = 64
MAX_LENGTH = 1 << 20
"""Characters of a value with variables, before and after: some lines that double each other fill memories."""
MAX_TOTAL = 32 << 20
"""What all values of a load that hold variables may come to."""

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")


class InvalidTemplate(Exception):
    """The text is not a template; the message says what is wrong with it."""


class TooLong(Exception):
    """The values come to more than anybody means."""


class MissingVariable(Exception):
    """``${VAR:?message}``: the variable is needed and not there."""


class Template:
    """Substitutes variables; `lookup` returns None for what is not set, `unset` hears of what is missing."""

    __slots__ = ("lookup", "unset")

    def __init__(
        self, lookup: Callable[[str], str | None], unset: Callable[[str], None] | None = None
    ) -> None:
        self.lookup = lookup
        self.unset = unset

    def substitute(self, text: str, depth: int = 0) -> str:
        """The text with its variables replaced; raises InvalidTemplate, MissingVariable or TooLong."""
        if "$" not in text:
            return text
        if depth > MAX_NESTING:
            raise InvalidTemplate(f"variables are nested more than {MAX_NESTING} levels deep")
        result = []
        index, length = 0, 0
        if len(text) > MAX_LENGTH:
            raise TooLong(f"is longer than {MAX_LENGTH >> 20} MiB, and holds variables")
        while True:
            dollar = text.find("$", index)
            if dollar < 0:
                result.append(text[index:])
                return "".join(result)
            result.append(text[index:dollar])
            value, index = self._one(text, dollar, depth)
            result.append(value)
            length += len(value)
            if length > MAX_LENGTH:
                raise TooLong(f"comes to more than {MAX_LENGTH >> 20} MiB")

    def _one(self, text: str, dollar: int, depth: int) -> tuple[str, int]:
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            return "$", dollar + 2
        if following == "{":
            end = closing_brace(text, dollar + 1)
            return self._braced(text[dollar + 2 : end], depth), end + 1
        name = _NAME.match(text, dollar + 1)
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

    def _braced(self, inner: str, depth: int) -> str:
        found = _NAME.match(inner)
        if found is None:
            raise InvalidTemplate(f"`${{{_shorten(inner)}}}` does not begin with the name of a variable")
        name, rest = found.group(), inner[found.end() :]
        if not rest:
            return self._plain(name)
        operator = next((one for one in _OPERATORS if rest.startswith(one)), None)
        if operator is None or "\n" in rest:
            what = "has a line break" if operator else f"has `{_shorten(rest)}` after the name"
            raise InvalidTemplate(f"`${{{_shorten(inner)}}}` {what}")
        operand = rest[len(operator) :]
        value = self.lookup(name)
        there = value is not None and (value != "" or operator[0] != ":")
        if operator[-1] == "-":
            return value or "" if there else self.substitute(operand, depth + 1)
        if operator[-1] == "+":
            return self.substitute(operand, depth + 1) if there else value or ""
        if not there:
            reason = self.substitute(operand, depth + 1)
            raise MissingVariable(f"the variable {name} is needed" + (f": {reason}" if reason else ""))
        return value or ""


def closing_brace(text: str, opening: int) -> int:
    """The index of the brace that closes the one at `opening`; pairs inside of it are skipped."""
    depth = 0
    for index in range(opening, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    raise InvalidTemplate(f"`{_shorten(text[opening - 1 :])}` is not closed with `}}`")


def _shorten(text: str) -> str:
    text = text.replace("\n", " ")
    return text if len(text) <= 40 else f"{text[:37]}..."


class Interpolator:
    """Interpolates a tree in place and remembers which unset variables it has warned of."""

    def __init__(self, lookup: Callable[[str], str | None], warn: Callable[[Position, str], None]) -> None:
        self._lookup = lookup
        self._warn = warn
        self._warned: set[str] = set()
        self._total = [0]
        self._at: Position | None = None
        self._template = Template(lookup, self._unset)

    def with_lookup(self, lookup: Callable[[str], str | None]) -> Interpolator:
        """An interpolator with other values that warns of the same variable only once."""
        other = Interpolator(lookup, self._warn)
        other._warned = self._warned
        other._total = self._total
        return other

    def _unset(self, name: str) -> None:
        if name not in self._warned and self._at is not None:
            self._warned.add(name)
            self._warn(
                self._at,
                f"the variable {name} is not set, an empty string is used; `${{{name}:-}}` says so quietly",
            )

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
