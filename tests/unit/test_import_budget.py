"""Python's imports are the enemy of a quick command: what each may load is counted.

Modules are counted rather than milliseconds: a count is the same on every machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"anyio", "asyncio", "dataclasses", "inspect", "jsonschema", "logging", "networkx", "pathlib"}
HEAVY |= {"pyroute2", "pysequoia", "subprocess", "typing", "yaml"}
# command: how many modules beyond a bare interpreter it may load when the model is in the cache
BUDGET = {"version": 41, "ps": 95, "logs": 90, "ls": 80, "top": 95}

SCRIPT = r"""
import os, sys
before = set(sys.modules)
from compose.cli.main import main
code = main(sys.argv[2:])
os.write(int(sys.argv[1]), "\n".join(set(sys.modules) - before).encode())
sys.exit(code)
"""


def modules_after(*arguments: str, environment: dict[str, str]) -> set[str]:
    """What a command has imported beyond a bare interpreter, in a process of its own."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as names:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(writer), *arguments],
            pass_fds=[writer],
            env=os.environ | environment,
            capture_output=True,
            text=True,
        )
        os.close(writer)
        assert done.returncode == 0, done.stderr
        return set(names.read().split())


@pytest.mark.parametrize("command", BUDGET)
def test_a_quick_command_loads_little(command: str, tmp_path: Path) -> None:
    environment = {"PYCOMPOSE_DATA_DIR": str(tmp_path / "data"), "PYCOMPOSE_RUN_DIR": str(tmp_path / "run")}
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {image: some}}\n", encoding="utf-8")
    for _ in range(2):  # the first time fills the cache
        loaded = modules_after("-f", str(file), command, environment=environment)
    assert not HEAVY & loaded
    assert len(loaded) <= BUDGET[command], sorted(loaded)
