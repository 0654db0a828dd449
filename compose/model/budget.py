"""How much one load may come to, so that no file costs more than a moment and some memory.

Every value of the tree is walked by each pass: some 4 microseconds in all. The largest file among four
thousand of other projects has 3,500 values as written; the largest that anybody means to write has ranges of
ports for telephony, of which each port is a listener and five values.
"""

from __future__ import annotations

import gc

from compose.model.tree import Map, Position, Seq, error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from compose.model.tree import Path

MAX_BYTES = 4 << 20
"""Bytes of all files, each file counted every time it is read."""
MAX_WRITTEN = 40_000
"""Values that the files of a load hold as written, aliases and repeated includes counted as what they stand
for."""
MAX_VALUES = 130_000
"""Values after short forms and `extends` are written out."""


MAX_USES = 100_000
"""Uses of variables."""
MAX_VARIABLES = 30_000
"""Variables that .env files, `env_file` and `label_file` set, each file counted every time it is read."""


class Budget:
    """What is left for the rest of a load."""

    __slots__ = ("bytes", "uses", "values", "variables", "written")

    def __init__(self) -> None:
        self.bytes = MAX_BYTES
        self.written = MAX_WRITTEN
        self.values = MAX_VALUES
        self.variables = MAX_VARIABLES
        self.uses = MAX_USES

    def read(self, data: bytes, file: str) -> None:
        """Take the bytes of a file; an error where they are not left."""
        self.bytes -= len(data)
        if self.bytes < 0:
            most = f"{MAX_BYTES >> 20} MiB"
            problem = f"the files come to more than {most}, each file counted every time it is read"
            raise error(Position(file, 0, 0), (), problem, "keep data in files that compose does not read")

    def parsed(self, values: int) -> None:
        """Take what a file holds; `parse` has refused what is more than is left."""
        self.written -= values

    def assigned(self, at: Callable[[], Position]) -> None:
        """Take a variable that a file sets; an error with the place `at` gives where none is left."""
        self.variables -= 1
        if self.variables < 0:
            problem = f"more than {MAX_VARIABLES} variables, each file counted every time it is read"
            raise error(at(), (), problem, "give each service the variables that it needs")

    def take(self, tree: Any, at: Position, path: Path = ()) -> None:
        """Take the values of a tree; an error, at the first one that is too many, where they are not left."""
        size = count(tree)
        if size > self.values:
            at, path = _place(tree, self.values, at, path)
            raise error(
                at,
                path,
                f"the files come to more than {MAX_VALUES} values, short forms and `extends` written out",
                "split the project",
            )
        self.values -= size


def count(tree: Any) -> int:
    """How many values a tree holds, itself included."""
    total = 0
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        total += 1
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return total


def _place(tree: Any, left: int, at: Position, path: Path) -> tuple[Position, Path]:
    """Where in a tree that is too large the value stands that nothing is left for."""
    while isinstance(tree, (Map, Seq)):
        entries: Any = tree.items() if isinstance(tree, Map) else enumerate(tree)
        for key, value in entries:
            size = count(value)
            if size > left:
                where: Any = tree.where(key)
                at = where if isinstance(tree, Seq) else where[1]
                path, tree = (*path, key), value
                break
            left -= size
        else:
            break
    return at, path


class NoCollector:
    """Suspends the search for circles of garbage: trees have none, and the search is a third of a load."""

    __slots__ = ("was_on",)

    def __enter__(self) -> None:
        self.was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *problem: object) -> None:
        if self.was_on:
            gc.enable()
