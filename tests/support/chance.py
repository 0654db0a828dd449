"""The seed of every test that leaves something to chance.

The same unless ``PYCOMPOSE_TEST_SEED`` says another, so that what passes once passes again; who looks for new
faults asks for many rounds and gives each run a seed of its own.
"""

from __future__ import annotations

import os

SEED = int(os.environ.get("PYCOMPOSE_TEST_SEED", "2014"))
