"""One error as a person reads it: what failed, and on the next line what to do."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.errors import ComposeError


def complain(error: ComposeError) -> None:
    """Print an error and its hint."""
    sys.stderr.write(f"pycompose: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"  {error.hint}\n")
    sys.stderr.flush()
