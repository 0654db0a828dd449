"""A plan: operations with their predecessors and causes. It prints as text, and that text is what
``--dry-run`` shows, what the log holds and what the tests of `reconcile` compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compose.plan.actions import WORDS

if TYPE_CHECKING:
    from compose.plan.actions import Action


class Operation(NamedTuple):
    """One action, after the operations of the indexes `after`, because of `cause`.

    `undo` takes back what a failed attempt may have left half-done.
    """

    action: Action
    cause: str = ""
    after: tuple[int, ...] = ()
    undo: Action | None = None

    def __str__(self) -> str:
        cause = f"  ({self.cause})" if self.cause else ""
        return f"{WORDS[type(self.action)].does} {self.action.target}{cause}"


class Plan:
    """A DAG of operations; an operation's index is its place in `operations`."""

    __slots__ = ("operations",)

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def add(
        self,
        action: Action,
        *,
        cause: str = "",
        after: tuple[int, ...] | list[int] = (),
        undo: Action | None = None,
    ) -> int:
        """Append an operation and return its index; predecessors must be in the plan already."""
        index = len(self.operations)
        predecessors = tuple(sorted(set(after)))
        if predecessors and predecessors[-1] >= index:
            raise ValueError(f"operation {index} waits for a later one: {predecessors}")
        self.operations.append(Operation(action, cause, predecessors, undo))
        return index

    def without_last(self) -> tuple[Plan, Plan]:
        """All but the last operation, for which nothing waits; and that one alone, with nothing before it."""
        first, last = Plan(), Plan()
        first.operations = self.operations[:-1]
        last.operations = [operation._replace(after=()) for operation in self.operations[-1:]]
        return first, last

    def __bool__(self) -> bool:
        return bool(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def __str__(self) -> str:
        lines = []
        for index, operation in enumerate(self.operations, 1):
            after = (
                f"  after {', '.join(str(other + 1) for other in operation.after)}" if operation.after else ""
            )
            lines.append(f"{index}. {operation}{after}")
        return "\n".join(lines)
