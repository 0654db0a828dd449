"""Which devices a version 2 group may use: a small program for the kernel's BPF machine."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def attach(directory: str, rules: Sequence[dict[str, Any]]) -> None:
    """Attach the rules to a group; raises OSError where the kernel or our privileges do not allow it."""
    raise OSError(38, "not yet")
