"""Which variables a compose file asks for, with their defaults: `config --variables`."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from compose.model.interpolate import closing_braces

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")


class Variable(NamedTuple):
    """One variable: whether it must be set, what stands for it when it is not, and when it is."""

    name: str
    required: bool = False
    default: str = ""
    alternate: str = ""


def collect(value: Any, found: dict[str, Variable]) -> None:
    """Add every variable of a tree to `found`."""
    if isinstance(value, str):
        if "$" in value:
            _text(value, found)
    elif isinstance(value, dict):
        for item in value.values():
            collect(item, found)
    elif isinstance(value, list):
        for item in value:
            collect(item, found)


def _text(text: str, found: dict[str, Variable]) -> None:
    index = 0
    closings = closing_braces(text)
    while (dollar := text.find("$", index)) >= 0:
        index = dollar + 2
        if text[dollar + 1 : index] == "$":
            continue
        if text[dollar + 1 : index] == "{":
            end = closings.get(dollar + 1, -1)
            if end < 0:
                continue
            _braced(text[dollar + 2 : end], found)
            index = end + 1
            continue
        name = _NAME.match(text, dollar + 1)
        if name is not None:
            found[name.group()] = Variable(name.group())


def _braced(inner: str, found: dict[str, Variable]) -> None:
    name = _NAME.match(inner)
    if name is None:
        return
    rest = inner[name.end() :].removeprefix(":")
    operator, operand = rest[:1], rest[1:]
    found[name.group()] = Variable(
        name.group(),
        required=operator == "?",
        default=operand if operator == "-" else "",
        alternate=operand if operator == "+" else "",
    )
    if operator in ("-", "+"):
        _text(operand, found)
