"""When a container that ended is started again, and after how long. Pure.

As Docker does it (moby, restartmanager): 100 ms at first, twice as long each time, at most a minute; a run
of ten seconds makes it 100 ms again. ``deploy.restart_policy`` may say more (Compose specification, deploy):
`delay` stands in the place of all that, and with `window` only those attempts count toward `max_attempts`
after which the container ran for a shorter time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.spec import RestartPolicy

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
GOOD_RUN = 10.0
_NEVER: RestartPolicy = {"name": "no", "max_attempts": 0}


def wanted(policy: RestartPolicy, exit_code: int | None, attempts: int, *, stopped_by_user: bool) -> bool:
    """Whether a container that ended with `exit_code` after so many `attempts` is to be started again.

    An unknown exit code counts as a failure.
    """
    name = policy["name"]
    if stopped_by_user or name == "no" or (name == "on-failure" and exit_code == 0):
        return False
    most = policy.get("max_attempts", 0)
    return most == 0 or attempts < most


def counts(policy: RestartPolicy, ran_for: float) -> bool:
    """Whether a restart counts as an attempt now that its run has ended after so many seconds."""
    window = policy.get("window", 0.0)
    return not window or ran_for < window


def next_delay(previous: float, ran_for: float, policy: RestartPolicy = _NEVER) -> float:
    """Seconds to wait before the next start; `previous` is 0.0 before the first one.

    Never less than `FIRST_DELAY`: what ends at once must not keep a processor busy.
    """
    fixed = policy.get("delay")
    if fixed is not None:
        return max(FIRST_DELAY, fixed)
    if previous <= 0.0 or ran_for >= GOOD_RUN:
        return FIRST_DELAY
    return min(previous * 2, LONGEST_DELAY)
