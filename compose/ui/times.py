"""Moments as docker's users write them."""

from __future__ import annotations

import time

from compose.errors import UsageError

_SECOND = 1_000_000_000
_FOREVER = 1e9
_LONGEST = 32  # digits of a number of seconds; a longer one is a mistake


def seconds(text: str) -> float:
    """An option's number of seconds, with or without a fraction; ValueError for what no clock can count."""
    found = float(text)
    if not -1 <= found <= _FOREVER:
        raise ValueError(text)
    return found


def moment(text: str, now: int | None = None) -> int:
    """``2026-01-02T15:04:05Z``, ``1767366245``, or ``10m`` ago, as nanoseconds since the epoch; "" is 0."""
    if not text:
        return 0
    if text.replace(".", "", 1).isdecimal():
        if len(text) < _LONGEST:
            return int(float(text) * _SECOND)
    elif "-" in text:
        from datetime import datetime

        try:
            return int(datetime.fromisoformat(text).timestamp() * _SECOND)
        except (ValueError, OverflowError):
            pass
    else:
        from compose.model.values import nanoseconds

        try:
            return (time.time_ns() if now is None else now) - nanoseconds(text)
        except ValueError:
            pass
    raise UsageError(f"{text}: not a time", hint="write 2026-01-02T15:04:05, or 10m for ten minutes ago")
