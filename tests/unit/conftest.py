"""Settings of the tests that make up their own cases."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How long a case takes says how busy the machine is. The cases are the same each time, unless a seed is given
# (support/chance.py): then they are new ones each time.
settings.register_profile(
    "tests",
    deadline=None,
    derandomize="PYCOMPOSE_TEST_SEED" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("tests")
