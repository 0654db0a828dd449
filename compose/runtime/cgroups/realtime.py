"""Budgets of real time (version 1): a group can only have what every group above it has at least.

The kernel takes a budget only if those of all groups on one level, as shares of their periods, are no more
than that of the group above. Groups of ours start with none, so that they are raised on the way down by what
is wanted. Loaded only where a service asks for it.
"""

from __future__ import annotations

import os

from compose.errors import ContainerError
from compose.linux.files import write_value
from compose.runtime.cgroups.common import number

_PERIOD = 1_000_000
_EINVAL, _EBUSY = 22, 16
_ROUNDS = 5
"""Another container of the project may be given its budget at the same time."""


def grant(root: str, path: str, runtime: int, period: int | None) -> bool:
    """Give the group `path` below the hierarchy's `root` its budget.

    `runtime` is in microseconds of its `period`, which has been set. False where this kernel has no such
    budgets; ContainerError where there is not enough of it.
    """
    if not os.path.exists(f"{root}/cpu.rt_runtime_us"):
        return False
    refused = 0
    for _ in range(_ROUNDS):
        try:
            _raise_above(root, path.split("/"), runtime / (period or _PERIOD))
            write_value(f"{root}/{path}/cpu.rt_runtime_us", str(runtime))
            return True
        except OSError as error:
            refused = error.errno or 0
            if refused not in (_EINVAL, _EBUSY):
                break
    raise ContainerError(
        f"cpu_rt_runtime: {runtime} microseconds of real time cannot be had: {os.strerror(refused)}",
        hint=f"see what the others have: grep . {root}/*/cpu.rt_runtime_us",
    )


def _raise_above(root: str, parts: list[str], share: float) -> None:
    """Let every group between the root and `parts` have what all below it have, with `share` for this one."""
    wanted = []
    for length in range(len(parts) - 1, 0, -1):
        above = f"{root}/{'/'.join(parts[:length])}"
        share += sum(_share(f"{above}/{name}") for name in _groups(above) if name != parts[length])
        wanted.append((above, share))
    for above, needed in reversed(wanted):
        if needed > _share(above):
            period = number(f"{above}/cpu.rt_period_us") or _PERIOD
            write_value(f"{above}/cpu.rt_runtime_us", str(min(period, int(needed * period) + 1)))


def _share(directory: str) -> float:
    period = number(f"{directory}/cpu.rt_period_us")
    return number(f"{directory}/cpu.rt_runtime_us") / period if period else 0.0


def _groups(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
