"""Standard input, output and error, in whatever state the caller hands them over."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


def prepare() -> None:
    """Have all three open, and able to write any text.

    A closed one would give its number to the next file that is opened, and a database or a socket would
    become what children write their output to. Names from the host may hold bytes that are no text, and
    locales may not know what we print.
    """
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for number in closed:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, number)
        if null not in (0, 1, 2):
            os.close(null)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)
    sys.stdout = _writer(sys.stdout, 1)
    sys.stderr = _writer(sys.stderr, 2)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _writer(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:
        return open(number, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="surrogateescape")
    return stream


def say(text: str, stream: TextIO | None = None) -> None:
    """Write to standard error, or to another stream, for whoever reads it; one who has gone is no reason to
    stop work."""
    stream = stream or sys.stderr
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        discard(1 if stream is sys.stdout else 2)


def is_set(variable: str) -> bool:
    """Whether an environment variable says yes."""
    return os.environ.get(variable, "").lower() in ("1", "t", "true", "y", "yes", "on")


def discard(number: int) -> None:
    """Let a standard stream lead nowhere from now on, with what is still buffered for it."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, number)
    os.close(null)
