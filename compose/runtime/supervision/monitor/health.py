"""What makes a container healthy: Docker's rules, with success noticed sooner. Pure.

Docker (moby, daemon/health.go) probes first after one interval (during `start_period` after one
`start_interval`), and again one interval after each probe's end. `retries` failures in a row make the
container unhealthy; those of probes that began within the start period, before any success, do not count.
One success makes it healthy.

Here extra probes run between those of Docker until the first success: the first at once, then at growing
distances. An extra probe that fails changes nothing, so that no container is unhealthy earlier than under
Docker.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    from compose.runtime.spec import Health, Healthcheck

    Status = Literal["starting", "healthy", "unhealthy"]

MOST_OUTPUT = 4096
"""Bytes of a probe's output that are kept."""
LOG_LENGTH = 5
"""Results that are kept."""
TIMED_OUT = -1
"""The exit code of a probe that was killed, or that could not be run at all."""

_FIRST_EXTRA = 0.05
_LONGEST_EXTRA = 1.0
_DEFAULT_INTERVAL = 30.0
_DEFAULT_START_INTERVAL = 5.0
_DEFAULT_TIMEOUT = 30.0
_DEFAULT_RETRIES = 3


def command(test: list[str]) -> list[str] | None:
    """The arguments to execute, or None for a health check that is switched off."""
    kind, *rest = test or ["NONE"]
    if kind == "NONE" or not rest:
        return None
    if kind == "CMD-SHELL":
        return ["/bin/sh", "-c", " ".join(rest)]
    return rest if kind == "CMD" else [kind, *rest]


def same_health(former: Health | None, health: Health) -> bool:
    """Whether a probe has said nothing new: what it says differs only in when that was."""
    if former is None or not former["log"] or not health["log"]:
        return False
    last, now = former["log"][-1], health["log"][-1]
    return (
        (former["status"], former["failing_streak"]) == (health["status"], health["failing_streak"])
        and last["exit_code"] == now["exit_code"]
        and last["output"] == now["output"]
    )


class HealthMachine:
    """The health of one run of a container. Times are seconds since it started."""

    __slots__ = (
        "_counted",
        "_due",
        "_extra_delay",
        "_interval",
        "_retries",
        "_settled",
        "_start_interval",
        "_start_period",
        "failing_streak",
        "log",
        "status",
        "timeout",
    )

    def __init__(self, check: Healthcheck) -> None:
        self._interval = check.get("interval") or _DEFAULT_INTERVAL
        self._start_interval = check.get("start_interval") or _DEFAULT_START_INTERVAL
        self._start_period = check.get("start_period") or 0.0
        self._retries = check.get("retries") or _DEFAULT_RETRIES
        self.timeout = check.get("timeout") or _DEFAULT_TIMEOUT
        self.status: Status = "starting"
        self.failing_streak = 0
        self.log: list[dict[str, Any]] = []
        self._settled = False  # whether Docker would have seen a success by now
        self._due = self._distance(0.0)
        self._extra_delay = 0.0
        self._counted = False

    def resume(self, known: Health, now: float) -> None:
        """Go on from what is on record, after the monitor was replaced at `now`."""
        self.status = known["status"]
        self.failing_streak = known["failing_streak"]
        self.log = list(known["log"])
        self._due = now + self._distance(now)

    def next_probe(self, now: float) -> float:
        """Seconds from `now` until the next probe is to begin."""
        until_due = max(0.0, self._due - now)
        if self.status != "starting":
            return until_due
        return min(until_due, self._extra_delay)

    def begin(self, now: float) -> None:
        """A probe begins."""
        self._counted = now >= self._due

    def end(self, began: float, ended: float, exit_code: int, output: str, started_at: int) -> bool:
        """A probe ended; whether the status has changed. `started_at` is when the container started (ns)."""
        self.log = [
            *self.log[-(LOG_LENGTH - 1) :],
            {
                "start": started_at + int(began * 1e9),
                "end": started_at + int(ended * 1e9),
                "exit_code": exit_code,
                "output": output,
            },
        ]
        before = self.status
        if exit_code == 0:
            self.failing_streak = 0
            self.status = "healthy"
        elif self._counted and (self._settled or began >= self._start_period):
            self.failing_streak += 1
            if self.failing_streak >= self._retries:
                self.status = "unhealthy"
        if self._counted:
            self._settled = self._settled or exit_code == 0
            self._due = ended + self._distance(ended)
        longer = min(self._extra_delay * 2, _LONGEST_EXTRA)
        self._extra_delay = max(_FIRST_EXTRA, longer, min(ended - began, _LONGEST_EXTRA))
        return self.status != before

    def record(self) -> Health:
        """The health as state.json has it."""
        return {"status": self.status, "failing_streak": self.failing_streak, "log": self.log}

    def _distance(self, now: float) -> float:
        starting = now < self._start_period and not self._settled
        return self._start_interval if starting else self._interval
