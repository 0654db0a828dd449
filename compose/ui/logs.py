"""Log lines of many containers on one terminal: a coloured prefix a container, as docker compose has it."""

from __future__ import annotations

import os
import time

from compose.ui.terminal import RESET, colour

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 in UTC with nine digits, as docker prints it."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:09d}Z"


class LogPrinter:
    """Writes whole lines to a descriptor; the bytes of a line go out as they came.

    `names` are what the prefixes say, for their common width; with ``prefix=False`` there are none.
    """

    def __init__(
        self,
        descriptor: int,
        names: Sequence[str],
        *,
        colours: bool,
        prefix: bool = True,
        timestamps: bool = False,
    ) -> None:
        self._descriptor = descriptor
        self._colours = colours
        self._prefix = prefix
        self._timestamps = timestamps
        self._width = max((len(name) for name in names), default=0)
        self._numbers = {name: number for number, name in enumerate(names)}

    def line(self, name: str, nanoseconds: int, text: bytes) -> None:
        """One line of the container `name`; without its final newline, or with it."""
        if not text.endswith(b"\n"):
            text += b"\n"
        data = self._before(name, nanoseconds).encode() + text
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _before(self, name: str, nanoseconds: int) -> str:
        number = self._numbers.setdefault(name, len(self._numbers))
        parts = []
        if self._prefix:
            label = f"{name:<{self._width}}  | "
            parts.append(f"{colour(number)}{label}{RESET}" if self._colours else label)
        if self._timestamps:
            parts.append(timestamp(nanoseconds) + " ")
        return "".join(parts)
