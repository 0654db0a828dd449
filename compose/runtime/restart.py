"""When a container that ended is started again, and after how long. Pure.

As Docker does it (moby, restartmanager): 100 ms at first, twice as long each time, at most a minute; a run
of ten seconds makes it 100 ms again.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.spec import RestartPolicy

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
GOOD_RUN = 10.0


def wanted(policy: RestartPolicy, exit_code: int | None, restarts: int, *, stopped_by_user: bool) -> bool:
    """Whether a container that ended with `exit_code` after `restarts` restarts is to be started again.

    An unknown exit code counts as a failure.
    """
    if stopped_by_user:
        return False
    name = policy["name"]
    if name == "on-failure":
        most = policy.get("max_attempts", 0)
        return exit_code != 0 and (most == 0 or restarts < most)
    return name in ("always", "unless-stopped")


def next_delay(previous: float, ran_for: float) -> float:
    """Seconds to wait before the next start; `previous` is 0.0 before the first one."""
    if previous <= 0.0 or ran_for >= GOOD_RUN:
        return FIRST_DELAY
    return min(previous * 2, LONGEST_DELAY)
