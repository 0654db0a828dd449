"""Words of an instruction: quotes, escapes and variables (Dockerfile reference, "Environment replacement").

    $name  ${name}  ${name:-word}  ${name:+word}  ${name:?word}  and the same without the colon
    ${name#pattern}  ${name##pattern}  ${name%pattern}  ${name%%pattern}  ${name/pattern/word}
    ${name//pattern/word}

With the colon an empty variable counts as unset. Patterns know ``*``, ``?`` and the escape. In single quotes
nothing is replaced; in double quotes the escape works before a quote, ``$`` and itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compose.images.build.parser import Place

Lookup = Callable[[str], str | None]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#]")
_MAX_DEPTH = 64


def split(text: str, escape: str) -> list[str]:
    """Words divided by blanks; quotes and escapes stay in them, for `expand`."""
    words: list[str] = []
    word = ""
    quote = ""
    started = False
    index = 0
    while index < len(text):
        char = text[index]
        if char == escape and quote != "'" and index + 1 < len(text):
            word, started = word + text[index : index + 2], True
            index += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in " \t\n":
            if started:
                words.append(word)
            word, started = "", False
            index += 1
            continue
        word, started = word + char, True
        index += 1
    if started:
        words.append(word)
    return words


def json_words(text: str) -> list[str] | None:
    """The strings of a JSON list (the exec form); None if `text` is anything else, which then is shell
    form."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        return None
    return found


def expand(text: str, lookup: Lookup, escape: str, place: Place) -> str:
    """`text` with its variables replaced, quotes and escapes taken away; raises `BuildError`."""
    return _Expander(text, lookup, escape, place, 0).all()


def expand_raw(text: str, lookup: Lookup, escape: str, place: Place) -> str:
    """`text` with its variables replaced, but quotes kept: the content of a here-document."""
    return _Expander(text, lookup, escape, place, 0, raw=True).all()


class _Expander:
    def __init__(
        self, text: str, lookup: Lookup, escape: str, place: Place, depth: int, *, raw: bool = False
    ) -> None:
        self._text = text
        self._at = 0
        self._lookup = lookup
        self._escape = escape
        self._place = place
        self._depth = depth
        self._raw = raw
        if depth > _MAX_DEPTH:
            raise place.error("variables are nested too deeply")

    def all(self) -> str:
        return self._until("")[0]

    def _until(self, stops: str) -> tuple[str, str]:
        """The expansion up to an unquoted character of `stops` (which is consumed), or the end; and which."""
        parts: list[str] = []
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char in stops:
                self._at += 1
                return "".join(parts), char
            if char == "'" and not self._raw:
                parts.append(self._single_quoted())
            elif char == '"' and not self._raw:
                parts.append(self._double_quoted())
            elif char == "$":
                parts.append(self._dollar())
            elif char == self._escape:
                parts.append(self._escaped())
            else:
                parts.append(char)
                self._at += 1
        if stops:
            raise self._place.error(f"a }} is missing in {self._text}")
        return "".join(parts), ""

    def _escaped(self) -> str:
        following = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if self._raw and following not in ("$", self._escape):
            return self._escape + following
        return following or self._escape

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise self._place.error(f"a single quote does not end in {self._text}")
        found = self._text[self._at + 1 : end]
        self._at = end + 1
        return found

    def _double_quoted(self) -> str:
        parts: list[str] = []
        self._at += 1
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == '"':
                self._at += 1
                return "".join(parts)
            if char == "$":
                parts.append(self._dollar())
                continue
            if char == self._escape and self._text[self._at + 1 : self._at + 2] in ('"', "$", self._escape):
                self._at += 1
                char = self._text[self._at : self._at + 1]
            parts.append(char)
            self._at += 1
        raise self._place.error(f"a double quote does not end in {self._text}")

    def _dollar(self) -> str:
        self._at += 1
        if self._text[self._at : self._at + 1] == "{":
            self._at += 1
            return self._braced()
        found = _NAME.match(self._text, self._at)
        if not found:
            return "$"
        self._at = found.end()
        return self._lookup(found[0]) or ""

    def _braced(self) -> str:
        found = _NAME.match(self._text, self._at)
        if not found:
            raise self._place.error(f"${{ without a name in {self._text}")
        name = found[0]
        self._at = found.end()
        value = self._lookup(name)
        rest = self._text[self._at : self._at + 2]
        if not rest:
            raise self._place.error(f"a }} is missing in {self._text}")
        if rest.startswith("}"):
            self._at += 1
            return value or ""
        if rest[:1] == ":" and rest[1:] in ("-", "+", "?"):
            self._at += 2
            return self._default(name, rest[1], value, given=bool(value))
        if rest[:1] in ("-", "+", "?"):
            self._at += 1
            return self._default(name, rest[0], value, given=value is not None)
        if rest[:1] in ("#", "%"):
            longest = rest == rest[0] * 2
            self._at += 2 if longest else 1
            return _strip(value or "", self._word("}")[0], rest[0], self._escape, longest=longest)
        if rest[:1] == "/":
            everywhere = rest == "//"
            self._at += 2 if everywhere else 1
            pattern, stop = self._word("/}")
            word = self._word("}")[0] if stop == "/" else ""
            compiled = re.compile(_translate(pattern, self._escape), re.DOTALL)
            return compiled.sub(lambda _: word, value or "", 0 if everywhere else 1)
        raise self._place.error(f"${{{name}{rest[:1]}...}} is not supported in {self._text}")

    def _word(self, stops: str) -> tuple[str, str]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._place.error("variables are nested too deeply")
        try:
            return self._until(stops)
        finally:
            self._depth -= 1

    def _default(self, name: str, operator: str, value: str | None, *, given: bool) -> str:
        word = self._word("}")[0]
        if operator == "-":
            return (value or "") if given else word
        if operator == "+":
            return word if given else ""
        if not given:
            raise self._place.error(f"{name}: {word or 'not set'}")
        return value or ""


def _translate(pattern: str, escape: str) -> str:
    """A shell pattern as a regular expression; ``*`` takes as much as it can."""
    parts: list[str] = []
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if char == escape and index + 1 < len(pattern):
            index += 1
            parts.append(re.escape(pattern[index]))
        else:
            parts.append({"*": ".*", "?": "."}.get(char) or re.escape(char))
        index += 1
    return "".join(parts)


def _strip(value: str, pattern: str, side: str, escape: str, *, longest: bool) -> str:
    """`value` without what `pattern` matches at its beginning (``#``) or end (``%``)."""
    compiled = re.compile(_translate(pattern, escape), re.DOTALL)
    lengths = range(len(value), -1, -1) if longest else range(len(value) + 1)
    for length in lengths:
        part = value[:length] if side == "#" else value[len(value) - length :]
        if compiled.fullmatch(part):
            return value[length:] if side == "#" else value[: len(value) - length]
    return value


def pairs(text: str, escape: str, place: Place, name: str) -> list[tuple[str, str]]:
    """``key=value ...`` of ENV and LABEL, not yet expanded; the old form ``key value`` gives one pair."""
    words = split(text, escape)
    if "=" not in words[0]:
        key, _, value = text.replace("\t", " ").partition(" ")
        if not value.strip():
            raise place.error(f"{name} {key} has no value", hint=f"{name} {key}=...")
        return [(key, value.strip())]
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise place.error(
                f"{name}: {word!r} is not of the form key=value", hint="quote values that have blanks"
            )
        found.append((key, value))
    return found
