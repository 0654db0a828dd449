"""Starts a monitor's container again, as its restart policy and its health want it."""

from __future__ import annotations

from compose.runtime.supervision import spawn
from compose.runtime.supervision.monitor import account, restart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.loop import Timer
    from compose.runtime.spec import Health, RestartPolicy
    from compose.runtime.supervision.monitor.monitor import Monitor

_NEVER: RestartPolicy = {"name": "no", "max_attempts": 0}


class Restarter:
    """What happens between two runs of one container."""

    __slots__ = ("_delay", "_monitor", "_timer", "_was_healthy")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._timer: Timer | None = None
        self._delay = 0.0
        self._was_healthy = False

    def ended(self, code: int | None) -> None:
        """A run is over: plan the next one, or finish for good."""
        state = self._monitor.state
        if state.get("restart_count", 0) and restart.counts(self._policy(), self._ran_for()):
            state["restart_attempts"] = state.get("restart_attempts", 0) + 1
        asked = bool(state.get("restarting_unhealthy") or state.get("restarting_by_hand"))
        if (asked and not self._given_up()) or self._wanted(code):
            self.plan()
        else:
            self._monitor.finish_for_good()

    def health_changed(self, health: Health) -> None:
        """End a container that turned unhealthy where its spec asks for that; `ended` starts it again."""
        monitor = self._monitor
        self._was_healthy = self._was_healthy or health["status"] == "healthy"
        asked = bool(monitor.spec.get("restart_on_unhealthy"))
        if health["status"] != "unhealthy" or not asked or monitor.state.get("restarting_unhealthy"):
            return
        if self._given_up():
            return
        monitor.state["restarting_unhealthy"] = True
        monitor.ending.end_run()

    def by_hand(self, grace: float | None) -> None:
        """Start it anew on a user's behalf, whatever its policy says: at once, without a trace of earlier
        failures."""
        monitor = self._monitor
        monitor.state["restarting_by_hand"] = True
        if self.cancel():
            self.plan()
        else:
            monitor.ending.end_run(grace)

    def plan(self) -> None:
        """Start it again after a while; also what a successor does that finds it waiting."""
        monitor = self._monitor
        if monitor.state.get("restarting_by_hand"):
            self._delay = 0.0
        else:
            self._delay = restart.next_delay(self._delay, self._ran_for(), self._policy())
        monitor.state["status"] = "restarting"
        monitor.write()
        self._timer = monitor.loop.after(self._delay, self._restart)

    def cancel(self) -> bool:
        """Do not start it again; whether that was planned."""
        planned = self._timer is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return planned

    def _policy(self) -> RestartPolicy:
        return self._monitor.spec.get("restart") or _NEVER

    def _ran_for(self) -> float:
        """Seconds that the last run lasted; none for one that never became healthy and was ended for that."""
        state = self._monitor.state
        if state.get("restarting_unhealthy") and not self._was_healthy:
            return 0.0
        return (state.get("finished_at", 0) - state.get("started_at", 0)) / 1e9

    def _given_up(self) -> bool:
        """Whether nothing is started any more: a user has stopped it, or the project goes down."""
        monitor = self._monitor
        stopped = monitor.state.get("stopped_by_user", False) or monitor.state.get("resume_at_boot", False)
        return stopped or spawn.is_stopping(monitor.paths, monitor.context.project)

    def _wanted(self, code: int | None) -> bool:
        attempts = self._monitor.state.get("restart_attempts", 0)
        return not self._given_up() and restart.wanted(self._policy(), code, attempts, stopped_by_user=False)

    def _restart(self) -> None:
        self._timer = None
        monitor = self._monitor
        if self._given_up():
            monitor.finish_for_good()
            return
        self._was_healthy = False
        account.restart_began(monitor.state)
        monitor.launch(lambda warnings: monitor.begun(warnings, self._answer), self._failed)

    def _failed(self, error: Exception) -> None:
        self._refuse(error)
        self.ended(account.restart_failed(self._monitor.state, error))

    def _answer(self, warnings: list[str]) -> None:
        """It runs again."""
        if self._monitor.control is not None:
            self._monitor.control.answer_restarting(warnings)

    def _refuse(self, error: Exception) -> None:
        """It could not be started again."""
        if self._monitor.control is not None:
            self._monitor.control.refuse_restarting(error)
