""".dockerignore: which paths of a build context are left out (Dockerfile reference, ".dockerignore file").

One pattern a line; ``*`` and ``?`` stay within a name, ``**`` crosses any number of directories, ``!`` takes
files in again, the last pattern that matches decides. A pattern that matches a directory matches all in it.
"""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from typing import NamedTuple

from compose.errors import BuildError


class _Rule(NamedTuple):
    expression: re.Pattern[str]
    excludes: bool


class Ignore:
    """The rules of one file."""

    def __init__(self, text: str = "", file: str = ".dockerignore") -> None:
        self._rules = [
            rule for number, line in enumerate(text.split("\n"), 1) for rule in _rules(line, file, number)
        ]
        self.has_exceptions = any(not rule.excludes for rule in self._rules)
        """Whether something below an excluded directory may be included."""

    def excludes(self, path: str) -> bool:
        """Whether `path`, relative to the context and without a leading slash, is left out."""
        if not self._rules or path in ("", "."):
            return False
        parts = path.split("/")
        prefixes = ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]
        excluded = False
        for rule in self._rules:
            if rule.excludes != excluded and any(map(rule.expression.fullmatch, prefixes)):
                excluded = rule.excludes
        return excluded


def _rules(line: str, file: str, number: int) -> list[_Rule]:
    if number == 1:
        line = line.removeprefix("\ufeff")
    pattern = line.strip()
    if not pattern or line.startswith("#"):
        return []
    excludes = not pattern.startswith("!")
    if not excludes:
        pattern = pattern[1:].strip()
        if not pattern:
            raise BuildError(f"{file}:{number}: ! without a pattern")
    pattern = posixpath.normpath(pattern).lstrip("/")
    try:
        return [_Rule(pattern_expression(pattern), excludes)] if pattern else []
    except re.error as error:
        raise BuildError(f"{file}:{number}: the pattern {pattern} cannot be read: {error}") from error


@lru_cache(maxsize=1024)
def pattern_expression(pattern: str) -> re.Pattern[str]:
    """A path pattern (Go's filepath.Match, and ``**``) as a regular expression; raises `re.error`."""
    parts: list[str] = []
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if pattern.startswith("**", index):
            index += 2
            if pattern[index : index + 1] == "/":
                index += 1
                parts.append("(?:.*/)?")
            else:
                parts.append(".*")
            continue
        if char == "[":
            end = _class_end(pattern, index)
            parts.append(_class(pattern[index + 1 : end]))
            index = end
        elif char == "\\":
            index += 1
            if index == len(pattern):
                raise re.error("it ends with a backslash")
            parts.append(re.escape(pattern[index]))
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char))
        index += 1
    return re.compile("".join(parts), re.DOTALL)


def _class_end(pattern: str, start: int) -> int:
    index = start + 1
    while index < len(pattern) and (pattern[index] != "]" or index in (start + 1,)):
        index += 2 if pattern[index] == "\\" else 1
    if index >= len(pattern):
        raise re.error("a [ without its ]")
    return index


def _class(inner: str) -> str:
    """As Go has it: characters and ranges of them; a ``-`` that is neither is escaped, or an error."""
    negated = inner.startswith("^")
    index, parts = int(negated), []
    while index < len(inner):
        low, index = _member(inner, index)
        if inner.startswith("-", index):
            high, index = _member(inner, index + 1)
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
        else:
            parts.append(re.escape(low))
    return f"(?!/)[{'^' if negated else ''}{''.join(parts)}]"


def _member(inner: str, index: int) -> tuple[str, int]:
    """A character of a class, and the place behind it."""
    escaped = inner.startswith("\\", index)
    index += escaped
    if index >= len(inner) or (inner[index] == "-" and not escaped):
        raise re.error("a range without its end")
    return inner[index], index + 1
