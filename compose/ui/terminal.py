"""What the terminal can show."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

RESET = "\x1b[0m"

# The order in which docker compose colours services, so that eyes need not learn anew.
_wanted = "auto"


def set_colours(ansi: str) -> None:
    """What ``--ansi`` says, for everything that this process prints: ``never``, ``always`` or ``auto``."""
    global _wanted
    _wanted = ansi


_PALETTE = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


def colours(stream: TextIO) -> bool:
    """Whether to colour what goes to `stream`: as ``--ansi`` says, by default as the stream and the NO_COLOR
    convention do."""
    if _wanted == "auto":
        return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()
    return _wanted == "always"


def colour(number: int) -> str:
    """The escape sequence of the colour of the service with this number."""
    return f"\x1b[{_PALETTE[number % len(_PALETTE)]}m"


def window_size() -> dict[str, int]:
    """Height and width of the terminal that is standard input, as OCI's ``consoleSize``; empty if unknown."""
    try:
        size = os.get_terminal_size(0)
    except OSError:
        return {}
    return {"height": size.lines, "width": size.columns} if size.lines and size.columns else {}


def printable(text: str) -> str:
    """`text` without control characters, for names and messages that may come from an image."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
