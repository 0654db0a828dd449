"""``--format`` as docker's users write it: table, json, or a Go template.

Of the templates of Go that is known what formats of lists are made of: fields (``{{.Name}}``, also of what is
in them), texts, and the functions json, upper, lower, title, len, join, split, truncate and println, called
with arguments or at the end of a pipe. Anything else is a `UsageError` that names it.
"""

from __future__ import annotations

import json
import re

from compose.errors import UsageError
from compose.ui.table import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\||[^\s|]+')


def render(
    form: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    *,
    minimum: int = 10,
) -> str:
    """The text of `rows` in the format `form`: "table", "table TEMPLATE", "json" or TEMPLATE.

    `columns` are the fields of the plain table with their headings; `headers` those of more fields.
    `minimum` is the least width of a column, its space included.
    """
    if form in ("", "table"):
        cells = [[str(row[field]) for field in columns] for row in rows]
        return table(list(columns.values()), cells, minimum=minimum)
    if form == "json":
        return "".join(_json(row) + "\n" for row in rows)
    as_table = form.startswith("table ")
    text = form.removeprefix("table ").replace("\\t", "\t").replace("\\n", "\n")
    parts = parse(text)
    lines = [expand(parts, row) for row in rows]
    if not as_table:
        return "".join(line + "\n" for line in lines)
    names = {**(headers or {}), **columns}
    head = "".join(part if isinstance(part, str) else _heading(part, names) for part in parts)
    cells = [line.split("\t") for line in lines]
    width = max(len(row) for row in [head.split("\t"), *cells])
    return table(*_padded(head.split("\t"), cells, width), minimum=minimum)


def _padded(head: list[str], rows: list[list[str]], width: int) -> tuple[list[str], list[list[str]]]:
    return head + [""] * (width - len(head)), [row + [""] * (width - len(row)) for row in rows]


def _heading(words: list[str], names: Mapping[str, str]) -> str:
    field = next((word[1:] for word in words if word.startswith(".") and len(word) > 1), "")
    return names.get(field, field.upper())


def parse(text: str) -> list[str | list[str]]:
    """The template as texts, and lists of words for what stands in braces; raises `UsageError`."""
    parts: list[str | list[str]] = []
    place = 0
    for found in _ACTION.finditer(text):
        before = text[place : found.start()]
        parts.append(before.rstrip() if found.group(1) else before)
        parts.append(_WORD.findall(found.group(2)))
        place = found.end()
        if found.group(3):
            place += len(text[place:]) - len(text[place:].lstrip())
    parts.append(text[place:])
    if any("{{" in part for part in parts if isinstance(part, str)):
        raise UsageError(f"--format {text}: '{{{{' without '}}}}'")
    return parts


def expand(parts: Sequence[str | list[str]], row: Mapping[str, Any]) -> str:
    """One row by a template that was parsed; raises `UsageError` for fields that there are not."""
    return "".join(part if isinstance(part, str) else _show(_pipeline(part, row)) for part in parts)


def _pipeline(words: list[str], row: Mapping[str, Any]) -> Any:
    stages: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            stages.append([])
        else:
            stages[-1].append(word)
    value: list[Any] = []
    for stage in stages:
        if not stage:
            raise UsageError("--format: a pipe with nothing in it")
        value = [_stage(stage, value, row)]
    return value[0]


def _stage(words: list[str], piped: list[Any], row: Mapping[str, Any]) -> Any:
    first, *rest = words
    if first in _FUNCTIONS:
        arguments = [_operand(word, row) for word in rest] + piped
        try:
            return _FUNCTIONS[first](*arguments)
        except (TypeError, ValueError) as error:
            raise UsageError(f"--format: {first}: {error}") from None
    if rest or piped:
        raise UsageError(f"--format: {first} is no function that is known here", hint=_KNOWN)
    return _operand(first, row)


def _operand(word: str, row: Mapping[str, Any]) -> Any:
    if word == ".":
        return row
    if word.startswith("."):
        found: Any = row
        for name in word[1:].split("."):
            if not isinstance(found, dict) or name not in found:
                raise UsageError(f"--format: there is no field {word}", hint=f"there are {', '.join(row)}")
            found = found[name]
        return found
    if word[0] == '"':
        return json.loads(word)
    if word[0] == "`":
        return word[1:-1]
    if word.isdecimal():
        return int(word)
    raise UsageError(f"--format: {word} is not known here", hint=_KNOWN)


def _show(value: Any) -> str:
    """As Go's fmt prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + " ".join(_show(entry) for entry in value.values()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_show(entry) for entry in value) + "]"
    return "<nil>" if value is None else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": _json,
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": lambda text: str(text).title(),
    "len": len,
    "join": lambda values, separator: str(separator).join(map(str, values)),
    "split": lambda text, separator: str(text).split(separator),
    "truncate": lambda text, length: str(text)[:length],
    "println": lambda *values: " ".join(map(_show, values)) + "\n",
}
_KNOWN = f"known are {', '.join(_FUNCTIONS)}"
