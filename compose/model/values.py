"""Durations, byte sizes, port ranges and the like: text as users write it <-> numbers and canonical text.

Pure functions without imports of ours; ValueError says what is wrong. Canonical text is what docker compose
prints: durations as Go does (``1m30s``), byte sizes as a decimal number in a string.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DURATION_PART = re.compile(r"([0-9]*\.?[0-9]+|[0-9]+\.)(w|d|h|ms|m|s|us|µs|μs|ns)")
_NANOSECONDS = {
    "w": 604_800_000_000_000,
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ns": 1,
}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?([kmgtpe]?)i?b?\Z", re.IGNORECASE)
_EXPONENTS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
MAX_INTEGER = 2**63 - 1
MAX_COMMAND = 128 << 10
"""Characters of a command in one string; the kernel takes no argument that is longer."""
MAX_WORD = 100
"""Characters of a duration or size."""
_DURATION_HINT = "write a number and a unit, such as 90s, 1m30s or 500ms"
_NUMBER_HINT = "write a number, such as 0.5"
_SIZE_HINT = "write a number and a unit, such as 512k, 64m or 1.5g"


class WrongValue(ValueError):
    """What is wrong with a value, and what to write instead."""

    def __init__(self, problem: str, hint: str | None = None) -> None:
        super().__init__(f"{problem}; {hint}" if hint else problem)
        self.problem = problem
        self.hint = hint


def nanoseconds(text: str) -> int:
    """``1m30s``, ``1d``, ``500ms`` -> nanoseconds."""
    if len(text) > MAX_WORD:
        raise WrongValue(f"`{text[:10]}...` is too long for a duration", _DURATION_HINT)
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body[1:] if body[:1] in ("+", "-") else body
    if body == "0":
        return 0
    total = 0.0
    index = 0
    while index < len(body):
        part = _DURATION_PART.match(body, index)
        if part is None:
            hint = f"add the unit: {body}s" if body.isdecimal() else _DURATION_HINT
            raise WrongValue(f"`{text}` is not a duration", hint)
        number, unit = part.groups()
        total += int(number) * _NANOSECONDS[unit] if number.isdigit() else float(number) * _NANOSECONDS[unit]
        index = part.end()
    if not body:
        raise WrongValue(f"`{text}` is not a duration", _DURATION_HINT)
    if total > MAX_INTEGER:
        raise WrongValue(f"`{text}` is longer than 292 years", "write a shorter one")
    return sign * round(total)


def duration(text: str) -> float:
    """``1m30s`` -> 90.0 seconds."""
    return nanoseconds(text) / 1e9


def duration_text(nanos: int) -> str:
    """Nanoseconds in Go's notation: ``1h0m0s``, ``1m30s``, ``1.5s``, ``100ms``."""
    if nanos == 0:
        return "0s"
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    for unit, limit in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanos < limit * 1000 and nanos < 1_000_000_000:
            return f"{sign}{_decimal(nanos, limit)}{unit}"
    minutes, rest = divmod(nanos, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, 1_000_000_000)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _decimal(number: int, unit: int) -> str:
    whole, rest = divmod(number, unit)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).zfill(len(str(unit)) - 1).rstrip('0')}"


def byte_size(value: str | int | float) -> int:
    """``64m``, ``1.5gb``, 1024 -> bytes; units are powers of 1024; -1 stays, it means "no limit"."""
    if isinstance(value, bool):
        raise WrongValue(f"`{str(value).lower()}` is not a size", _SIZE_HINT)
    if isinstance(value, (int, float)):
        return whole(value)
    text = value.strip()
    if re.match(r"[-+]?[0-9]{1,30}\Z", text):
        size = int(text)
    else:
        found = _SIZE.match(text)
        if found is None:
            raise WrongValue(f"`{value}` is not a size", _SIZE_HINT)
        number, unit = found.groups()
        factor = 1024 ** _EXPONENTS[unit.lower()]
        size = (
            int(number) * factor if number.isdigit() and len(number) < 30 else whole(float(number) * factor)
        )
    if abs(size) > MAX_INTEGER:
        raise WrongValue(
            f"`{value}` is more than any machine has", "write a smaller size, such as 512k, 64m or 1.5g"
        )
    return size


def whole(number: int | float) -> int:
    """The whole part of a number, which may be none: 1e400 is infinite."""
    if number != number or abs(number) > 2.0**64:
        raise WrongValue(f"`{go_text(number)}` is out of range", "write a smaller number")
    return int(number)


def port_range(text: str) -> tuple[int, int]:
    """``8000-8010`` -> (8000, 8010); one number gives it twice."""
    first, dash, last = text.partition("-")
    try:
        start, end = _port(first), _port(last if dash else first)
    except ValueError:
        raise WrongValue(
            f"`{text}` is not a port or a range of ports", "ports are numbers from 1 to 65535"
        ) from None
    if end < start:
        raise WrongValue(f"`{text}` ends before it begins", f"write {end}-{start}")
    return start, end


def _port(text: str) -> int:
    if not re.match(r"[0-9]{1,30}\Z", text, re.ASCII) or int(text) > 65535:
        raise ValueError(text)
    return int(text)


def go_text(value: Any) -> str:
    """A scalar as Go prints it: true, 1.5, 1e+06, +Inf."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return go_float(value)
    return str(value)


def go_float(value: float) -> str:
    """A float in Go's shortest form: with an exponent from 1e+06 on and below 1e-04."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return repr(value).removesuffix(".0")
    for precision in range(17):
        text = f"{value:.{precision}e}"
        if float(text) == value:
            break
    return text


def float32(value: float) -> float | int:
    """A number as Go's 32-bit floats hold and print it."""
    import struct

    narrow = struct.unpack("f", struct.pack("f", value))[0]
    for precision in range(1, 10):
        text = f"{narrow:.{precision}g}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == narrow:
            number = float(text)
            return int(number) if number == int(number) and abs(number) < 1e6 else number
    return float(narrow)


_BOOLEANS = {
    "true": True,
    "y": True,
    "yes": True,
    "on": True,
    "false": False,
    "n": False,
    "no": False,
    "off": False,
}


def boolean(text: str) -> bool:
    """``true`` and ``false``; also ``yes``, ``no``, ``on``, ``off``, ``y``, ``n``, in any case."""
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise WrongValue(f"`{text}` is not a boolean", "write true or false") from None


def integer(text: str) -> int:
    """A decimal integer."""
    if not re.match(r"[-+]?[0-9]{1,30}\Z", text) or abs(int(text)) > MAX_INTEGER:
        raise WrongValue(f"`{text}` is not a whole number", "write digits alone, such as 2")
    return int(text)


def number(text: str) -> float:
    """A decimal number."""
    try:
        value = float(text)
    except ValueError:
        raise WrongValue(f"`{text}` is not a number", _NUMBER_HINT) from None
    if value != value or value in (float("inf"), float("-inf")):
        raise WrongValue(f"`{text}` is not a number", _NUMBER_HINT)
    return value


def split_command(text: str) -> list[str]:
    """A command in one string -> its arguments, as docker compose splits it.

    Quotes and backslashes are read as a shell reads them; nothing is expanded. An unquoted ``;``, ``|``,
    ``&``, ``<`` or ``>`` ends the command, and the rest is dropped: `dropped_command` tells what.
    """
    return _split(text)[0]


def dropped_command(text: str) -> str:
    """What `split_command` leaves out: from the first unquoted shell operator on."""
    return _split(text)[1]


_SPECIAL = re.compile(r"[\\'\";&|<>()]")
_BLANKS = re.compile(r"[ \t\r\n]+")


def _split(text: str) -> tuple[list[str], str]:
    if len(text) > MAX_COMMAND:
        raise WrongValue(
            f"is longer than {MAX_COMMAND >> 10} KiB, more than a program can be given",
            "put it into a script beside the compose file",
        )
    if not _SPECIAL.search(text):
        return [word for word in _BLANKS.split(text) if word], ""
    words: list[str] = []
    word: list[str] = []
    inside = False
    quote = ""
    escaped = False
    for index, character in enumerate(text):
        if escaped:
            word.append(character)
            escaped, inside = False, True
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)
        elif character in " \t\r\n":
            if inside:
                words.append("".join(word))
            word, inside = [], False
        elif character in "'\"":
            quote, inside = character, True
        elif character in ";&|<>":
            if character == ">" and word and word[0].isdigit():
                inside = False
            return words + (["".join(word)] if inside else []), text[index:]
        elif character in "()":
            raise WrongValue("has a bracket outside of quotes", "write the command as a list, or quote it")
        else:
            word.append(character)
            inside = True
    if quote or escaped:
        raise WrongValue("has a quote that is not closed", "write the command as a list")
    return words + (["".join(word)] if inside else []), ""
