"""A monitor's part in health checks: what it writes down of them, and who can end a probe after it."""

from __future__ import annotations

import time

from compose.linux import process
from compose.runtime.spec import health_of
from compose.runtime.supervision.monitor.health import same_health
from compose.runtime.supervision.monitor.probe import Prober, process_of
from compose.runtime.supervision.monitor.repeated import Repeated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.supervision.monitor.monitor import Monitor

_SIGKILL = 9
_WRITTEN = 10.0
"""Seconds within which probes that say the same again are written down together."""


class Checkup:
    """The health check over all runs of one container; there may be none."""

    __slots__ = ("_monitor", "_prober", "_written")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._prober: Prober | None = None
        self._written = 0.0

    def begin(self, *, resumed: bool) -> None:
        """A run begins, or is gone on with."""
        monitor = self._monitor
        check = monitor.spec.get("healthcheck")
        if not check:
            return
        started = monitor.state["started_at"]
        probe = Repeated(monitor, process_of(check, monitor.spec["oci"]["process"]))
        self._prober = Prober(monitor.loop, check, probe, started, self._probed, self._guard)
        known = monitor.state.get("health")
        if resumed and known:
            self._prober.machine.resume(known, (time.time_ns() - started) / 1e9)
        self._prober.begin()

    def settle(self, seconds: float) -> None:
        """As `Door.settle`, for who lets probes be born."""
        if self._prober is not None:
            self._prober.settle(seconds)

    def pause(self, *, paused: bool) -> None:
        """Run no probes for a while."""
        if self._prober is not None:
            self._prober.pause(paused=paused)

    def end(self) -> None:
        """The run is over."""
        if self._prober is not None:
            self._prober.end()
            self._prober = None

    def end_left_probe(self) -> None:
        """A probe whose monitor died has nobody to time it out."""
        for pidfd in self._monitor.link.own("probe"):
            try:
                process.pidfd_send_signal(pidfd, _SIGKILL)
            except ProcessLookupError:
                continue
        self._monitor.link.release("probe")

    def _probed(self) -> None:
        monitor = self._monitor
        if self._prober is None or monitor.pidfd < 0:
            return
        health = self._prober.machine.record()
        before = health_of(monitor.state)
        former, monitor.state["health"] = monitor.state.get("health"), health
        now = time.monotonic()
        if not same_health(former, health) or now - self._written >= _WRITTEN:
            self._written = now
            monitor.write()
        if health["status"] not in ("starting", before):
            monitor.event(f"health_status: {health['status']}")
        monitor.restarter.health_changed(health)

    def _guard(self, pidfd: int | None) -> None:
        """The keeper holds the pidfd of a probe that takes its time, so that our successor can end it."""
        if pidfd is not None:
            self._monitor.link.put_own({"probe": [pidfd]})
        else:
            self._monitor.link.release("probe")
