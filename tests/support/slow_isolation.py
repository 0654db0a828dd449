"""`fake_isolation`, but a launch waits until the test lets it go on: see `launch`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from tests.support import fake_isolation
from tests.support.fake_isolation import (
    Cgroup,
    Launched,
    Regular,
    Stdio,
    create,
    enter,
    find,
    prepare,
    remove_base,
)

if TYPE_CHECKING:
    from compose.runtime.spec import ContainerSpec

__all__ = [
    "Cgroup",
    "Launched",
    "Regular",
    "Stdio",
    "create",
    "enter",
    "find",
    "launch",
    "prepare",
    "remove_base",
]


def launch(spec: ContainerSpec, stdio: Stdio, cgroup: Cgroup, *rest: Any) -> Launched:
    """Make the file ``launching`` in the container's directory, and wait for the file ``go`` there."""
    directory = os.path.dirname(spec["rootfs"]["upper"])
    with open(f"{directory}/launching", "w"):
        while not os.path.exists(f"{directory}/go"):
            time.sleep(0.005)
    return fake_isolation.launch(spec, stdio, cgroup, *rest)
