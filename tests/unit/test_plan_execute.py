"""Execution: order, concurrency, failure, undo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from compose.errors import ContainerError
from compose.plan.actions import CreateContainer, RemoveContainer, StartContainer, StopContainer
from compose.plan.execute import execute
from compose.plan.plan import Plan

if TYPE_CHECKING:
    from compose.plan.actions import Action


class FakeEngine:
    """Writes down what is done; fails for the targets it is told."""

    def __init__(self, *, failing: tuple[str, ...] = ()) -> None:
        self.failing = failing
        self.log: list[str] = []
        self.active = 0
        self.most = 0

    async def perform(self, action: Action) -> None:
        self.active += 1
        self.most = max(self.most, self.active)
        await anyio.lowlevel.checkpoint()
        self.active -= 1
        self.log.append(f"{type(action).__name__} {action.target}")
        if action.target in self.failing and not isinstance(action, RemoveContainer):
            raise ContainerError(f"{action.target} failed")


def test_an_operation_waits_for_its_predecessors() -> None:
    plan = Plan()
    first = plan.add(CreateContainer("a", "a", 1))
    second = plan.add(StartContainer("a"), after=[first])
    plan.add(StartContainer("b"), after=[second])
    engine = FakeEngine()
    assert anyio.run(execute, plan, engine) == []
    assert engine.log == ["CreateContainer a", "StartContainer a", "StartContainer b"]


@pytest.mark.parametrize(("parallel", "most"), [(None, 5), (2, 2), (1, 1)])
def test_independent_operations_run_together_up_to_the_limit(parallel: int | None, most: int) -> None:
    plan = Plan()
    for name in "abcde":
        plan.add(StartContainer(name))
    engine = FakeEngine()

    async def run() -> None:
        await execute(plan, engine, parallel=parallel)

    anyio.run(run)
    assert engine.most == most


def test_a_failure_ends_the_plan_and_undoes_its_own_operation() -> None:
    plan = Plan()
    first = plan.add(CreateContainer("a", "a", 1), undo=RemoveContainer("a"))
    plan.add(StartContainer("b"), after=[first])
    engine = FakeEngine(failing=("a",))
    errors = anyio.run(execute, plan, engine)
    assert [str(error) for error in errors] == ["a failed"]
    assert engine.log == ["CreateContainer a", "RemoveContainer a"]


def test_teardown_goes_on_past_failures_and_reports_them_all() -> None:
    plan = Plan()
    first = plan.add(StopContainer("a"))
    second = plan.add(StopContainer("b"), after=[first])
    plan.add(StopContainer("c"), after=[second])
    engine = FakeEngine(failing=("a", "b"))

    async def run() -> list[str]:
        return [str(error) for error in await execute(plan, engine, keep_going=True)]

    assert anyio.run(run) == ["a failed", "b failed"]
    assert engine.log == ["StopContainer a", "StopContainer b", "StopContainer c"]


def test_a_plan_cannot_wait_for_what_comes_later() -> None:
    plan = Plan()
    with pytest.raises(ValueError, match="waits for a later one"):
        plan.add(StartContainer("a"), after=[0])
