"""Settings of the tests that make up their own cases, and keepers of containers that are mere processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.containers import Stand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.state.paths import Paths

# How long a case takes says how busy the machine is. The cases are the same each time, unless a seed is given
# (support/chance.py): then they are new ones each time.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize="PYCOMPOSE_TEST_SEED" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")


@pytest.fixture
def stand(paths: Paths) -> Iterator[Stand]:
    """A project without isolation: what its containers execute are mere children of their monitors."""
    made = Stand(paths, "/", isolation="tests.support.fake_isolation")
    try:
        yield made
    finally:
        made.close()
