"""What the terminal can show."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

RESET = "\x1b[0m"

# The order in which docker compose colours services, so that eyes need not learn anew.
_PALETTE = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


def colours(stream: TextIO, ansi: str = "auto") -> bool:
    """Whether to colour what goes to `stream`; `ansi` is ``never``, ``always`` or ``auto``.

    ``auto`` follows the stream and the NO_COLOR convention.
    """
    if ansi == "auto":
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()
    return ansi == "always"


def colour(number: int) -> str:
    """The escape sequence of the colour of the service with this number."""
    return f"\x1b[{_PALETTE[number % len(_PALETTE)]}m"


def printable(text: str) -> str:
    """`text` without control characters, for names and messages that may come from an image."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
