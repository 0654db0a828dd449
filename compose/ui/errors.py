"""Errors and warnings as a person reads them, or, with ``--progress json``, as a program does."""

from __future__ import annotations

from compose.ui.streams import say
from compose.ui.terminal import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.errors import ComposeError


_as_json = False


def speak_json() -> None:
    """From now on errors and warnings are JSON objects, one a line, as those of docker compose are."""
    global _as_json
    _as_json = True


def complain(error: ComposeError) -> None:
    """Print an error and its hint."""
    if _as_json:
        hint = {"hint": error.hint} if error.hint else {}
        say(json_line({"error": True, "message": error.message, **hint}))
        return
    say(f"pycompose: {_shown(error.message)}\n" + (f"  {_shown(error.hint)}\n" if error.hint else ""))


def warn(text: str) -> None:
    """Print a warning."""
    if _as_json:
        import time

        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        say(json_line({"level": "warning", "msg": text, "time": now}))
        return
    say(f"pycompose: warning: {printable(text)}\n")


def json_line(value: object) -> str:
    """`value` in one line of JSON."""
    from compose.state.files import dumps

    return dumps(value).decode() + "\n"


def _shown(text: str) -> str:
    """`text` in its lines; what an image or a container put into it does not steer the terminal."""
    return "\n".join(map(printable, text.replace("\t", " ").split("\n")))
