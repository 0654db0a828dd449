"""One error as a person reads it: what failed, and on the next line what to do."""

from __future__ import annotations

from compose.ui.streams import say
from compose.ui.terminal import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.errors import ComposeError


def complain(error: ComposeError) -> None:
    """Print an error and its hint."""
    say(f"pycompose: {_shown(error.message)}\n" + (f"  {_shown(error.hint)}\n" if error.hint else ""))


def _shown(text: str) -> str:
    """`text` in its lines; what an image or a container put into it does not steer the terminal."""
    return "\n".join(map(printable, text.replace("\t", " ").split("\n")))
