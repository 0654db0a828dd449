"""Plain YAML scalars as docker compose reads them: the YAML 1.2 core schema, and old octals.

``22:22``, ``no``, ``on`` and ``190:20:30`` are strings; ``0440``, ``0o17``, ``0x1F``, ``0b11`` and
``1_000`` are integers; ``08`` is a float; what exceeds a float, such as ``1e400``, is a string. A date is
refused, since compose has no value of that kind, but below keys that begin with x-.
"""

from __future__ import annotations

import math
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
_LONELY = re.compile(r"(?<![0-9])_|_(?![0-9])")
_DATE = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:[Tt]|( ))([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,]([0-9]+))?(Z|[-+][0-9]{2}:[0-9]{2})?)?\Z"
)
_LIKE_DATE = re.compile(
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}.*)?\Z"
)
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Date(str):
    """A plain scalar that YAML 1.1 takes for a date."""

    __slots__ = ()

    def in_full(self) -> Date:
        """As docker compose prints it (RFC 3339): ``2024-01-01`` is ``2024-01-01T00:00:00Z``."""
        found = _DATE.match(self)
        if not found:
            return self
        numbers = [int(number or 0) for number in found.group(1, 2, 3, 5, 6, 7)]
        year, month, day, hours, minutes, seconds = numbers
        fraction = (found[8] or "")[:9].rstrip("0")
        zone = found[9] or "Z"
        zone = "Z" if zone[1:] == "00:00" else zone
        time = f"{hours:02}:{minutes:02}:{seconds:02}{fraction and '.' + fraction}"
        return Date(f"{year:04}-{month:02}-{day:02}T{time}{zone}")


def resolve(text: str) -> Scalar:
    """The value of a plain (unquoted, untagged) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _MAYBE_NUMBER:
        return text
    if _is_date(text):
        return Date(text)
    digits = text.replace("_", "")
    whole = _whole(digits)
    if whole is not None and -(2**63) <= whole < 2**64:
        return whole
    if _FLOAT.match(digits) and not (text[0] == "." and _LONELY.search(text)):
        number = float(digits)
        return text if math.isinf(number) else number
    return text


def _whole(digits: str) -> int | None:
    if _DECIMAL.match(digits):
        return int(digits) if len(digits) < 25 else None
    based = _BASED.match(digits)
    if based is None:
        return None
    sign, _, hexadecimal, _, binary, octal = based.groups()
    if hexadecimal:
        number = int(hexadecimal, 16)
    else:
        number = int(binary, 2) if binary else int(octal, 8)
    return -number if sign == "-" else number


def looks_like_date(text: str) -> bool:
    """Whether readers of YAML 1.1 take a plain scalar for a date, be it one or not."""
    return bool(_LIKE_DATE.match(text))


def _is_date(text: str) -> bool:
    found = _DATE.match(text)
    if not found:
        return False
    year, month, day, blank, hours, minutes, seconds, _, zone = found.groups()
    if not 1 <= int(month) <= 12 or not 1 <= int(day) <= _DAYS[int(month) - 1]:
        return False
    if (int(month), int(day)) == (2, 29) and (int(year) % 4 or not int(year) % 100 and int(year) % 400):
        return False
    if hours is None:
        return True
    return bool(zone) is not bool(blank) and int(hours) < 24 and int(minutes) < 60 and int(seconds) < 60
