"""A random sample of the faults that ``python -m tests.sweep`` makes by the hundred."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.support import sweep
from tests.support.chance import SEED

if TYPE_CHECKING:
    from tests.support.command import Stack

POINTS = 3


@pytest.mark.parametrize("command", sweep.COMMANDS)
def test_faults_at_any_system_call_are_recovered_from(stack: Stack, command: str) -> None:
    """A failure names its point and its seed, with which it can be repeated."""
    sweep.prepare(stack)
    stack.run("build")
    most = sweep.counts(stack, command, str(stack.directory / "strace"))
    assert sum(most.values()) > 100
    generator = random.Random(SEED)
    for number in range(POINTS):
        point = sweep.choose(command, most, generator, errors=number % 3 == 2)
        try:
            sweep.inject(stack, point)
        except AssertionError as error:
            raise AssertionError(f"PYCOMPOSE_TEST_SEED={SEED}: {error}") from None
