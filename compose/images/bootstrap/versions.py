"""Debian's version numbers: ``[EPOCH:]UPSTREAM[-REVISION]``, deb-version(7)."""

from __future__ import annotations

import re
from functools import cmp_to_key, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_PARTS = re.compile(r"(\D*)(\d*)")


def compare(left: str, right: str) -> int:
    """Negative, zero or positive, as `left` is older than, as old as or newer than `right`."""
    if left == right:
        return 0
    (left_epoch, left_upstream, left_revision), (right_epoch, right_upstream, right_revision) = (
        _split(left), _split(right),
    )  # fmt: skip
    return (
        left_epoch - right_epoch
        or _compare_part(left_upstream, right_upstream)
        or _compare_part(left_revision, right_revision)
    )


key: Callable[[str], object] = cmp_to_key(compare)
"""For `max` and `sorted`."""


def satisfies(version: str, operator: str, wanted: str) -> bool:
    """Whether ``version operator wanted`` holds; an empty operator always does."""
    if not operator:
        return True
    order = compare(version, wanted)
    return {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}.get(
        {"<": "<=", ">": ">="}.get(operator, operator), False
    )


@lru_cache(maxsize=4096)
def _split(version: str) -> tuple[int, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdigit():
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-")
    return (int(epoch), upstream, revision) if upstream else (int(epoch), rest, "")


def _compare_part(left: str, right: str) -> int:
    """Letters before other characters, ``~`` before everything, even the end; numbers by value."""
    left_parts, right_parts = _PARTS.findall(left), _PARTS.findall(right)
    for index in range(max(len(left_parts), len(right_parts))):
        left_text, left_digits = left_parts[index] if index < len(left_parts) else ("", "")
        right_text, right_digits = right_parts[index] if index < len(right_parts) else ("", "")
        if left_text != right_text:
            order = _compare_text(left_text, right_text)
            if order:
                return order
        number = int(left_digits or 0) - int(right_digits or 0)
        if number:
            return number
    return 0


def _compare_text(left: str, right: str) -> int:
    for index in range(max(len(left), len(right))):
        order = _weight(left[index : index + 1]) - _weight(right[index : index + 1])
        if order:
            return order
    return 0


def _weight(character: str) -> int:
    if character == "~":
        return -1
    if not character:
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256
