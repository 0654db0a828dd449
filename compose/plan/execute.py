"""Plan -> what is wanted: an anyio task an operation; it waits for its predecessors and decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import anyio

from compose.errors import ComposeError

if TYPE_CHECKING:
    from compose.plan.actions import Action
    from compose.plan.plan import Operation, Plan


class Performer(Protocol):
    """Whoever can carry out an action; an `Engine` is one."""

    async def perform(self, action: Action) -> None: ...


class Listener(Protocol):
    """Whoever is told how an operation fares."""

    def started(self, operation: Operation) -> None: ...

    def finished(self, operation: Operation) -> None: ...

    def failed(self, operation: Operation, error: ComposeError) -> None: ...


class Silence:
    """A listener that says nothing."""

    def started(self, operation: Operation) -> None:
        pass

    def finished(self, operation: Operation) -> None:
        pass

    def failed(self, operation: Operation, error: ComposeError) -> None:
        pass


async def execute(
    plan: Plan,
    performer: Performer,
    *,
    listener: Listener | None = None,
    parallel: int | None = None,
    keep_going: bool = False,
) -> list[ComposeError]:
    """Carry out `plan`; at most `parallel` operations at once.

    The first failure ends it: what runs is cancelled, and the operation's own `undo` is carried out. With
    `keep_going`, for teardown, the rest goes on as if the failed operation had been done. Returns the
    failures, the first one first; raises nothing of its own.
    """
    return await _Execution(plan, performer, listener or Silence(), parallel, keep_going=keep_going).run()


class _Execution:
    def __init__(
        self, plan: Plan, performer: Performer, listener: Listener, parallel: int | None, *, keep_going: bool
    ) -> None:
        self.plan = plan
        self.performer = performer
        self.listener = listener
        self.keep_going = keep_going
        self.done = [anyio.Event() for _ in plan.operations]
        self.slots = anyio.CapacityLimiter(parallel if parallel and parallel > 0 else max(len(plan), 1))
        self.errors: list[ComposeError] = []

    async def run(self) -> list[ComposeError]:
        async with anyio.create_task_group() as group:
            self.scope = group.cancel_scope
            for index in range(len(self.plan.operations)):
                group.start_soon(self.operation, index)
        return self.errors

    async def operation(self, index: int) -> None:
        operation = self.plan.operations[index]
        for predecessor in operation.after:
            await self.done[predecessor].wait()
        async with self.slots:
            self.listener.started(operation)
            try:
                await self.performer.perform(operation.action)
            except ComposeError as error:
                await self.failure(operation, error)
                if not self.keep_going:
                    return
            else:
                self.listener.finished(operation)
        self.done[index].set()

    async def failure(self, operation: Operation, error: ComposeError) -> None:
        self.errors.append(error)
        self.listener.failed(operation, error)
        if operation.undo is not None:
            with anyio.CancelScope(shield=True):
                try:
                    await self.performer.perform(operation.undo)
                except ComposeError as second:
                    self.errors.append(second)
        if not self.keep_going:
            self.scope.cancel()
