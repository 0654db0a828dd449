"""Plain YAML scalars as docker compose reads them: the YAML 1.2 core schema, and old octals.

``22:22``, ``no``, ``on`` and ``190:20:30`` are strings; ``0440``, ``0o17``, ``0x1F``, ``0b11`` and
``1_000`` are integers; ``08`` is a float. A date is refused, since compose has no value of that kind.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    ".nan": float("nan"),
    ".NaN": float("nan"),
    ".NAN": float("nan"),
}
for _word in (".inf", ".Inf", ".INF"):
    _WORDS[_word] = _WORDS[f"+{_word}"] = float("inf")
    _WORDS[f"-{_word}"] = float("-inf")

_MAYBE_NUMBER = frozenset("+-.0123456789")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_BASED = re.compile(r"([-+]?)0(?:([xX])([0-9a-fA-F]+)|([bB])([01]+)|[oO]?([0-7]+))\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*)?\Z")


class Date(str):
    """A plain scalar that YAML 1.1 takes for a date."""

    __slots__ = ()


def resolve(text: str) -> Scalar:
    """The value of a plain (unquoted, untagged) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _MAYBE_NUMBER:
        return text
    if _DATE.match(text):
        return Date(text)
    digits = text.replace("_", "")
    if _DECIMAL.match(digits):
        return _bounded(int(digits)) if len(digits) < 25 else float(digits)
    based = _BASED.match(digits)
    if based:
        sign, _, hexadecimal, _, binary, octal = based.groups()
        if hexadecimal:
            number = int(hexadecimal, 16)
        else:
            number = int(binary, 2) if binary else int(octal, 8)
        return _bounded(-number if sign == "-" else number)
    if _FLOAT.match(digits):
        return float(digits)
    return text


def _bounded(number: int) -> int | float:
    """Integers beyond 64 bits become floats, as in Go."""
    return number if -(2**63) <= number < 2**64 else float(number)
