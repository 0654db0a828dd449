"""How a run is ended: for a user, for the restarter, by a fatal signal, or because the project goes down.

Whoever asks hears of it when process 1 has ended, which its pidfd tells (monitor.py). `Stopper` is one
attempt with its grace period; after that comes SIGKILL to everything, until it is gone.
"""

from __future__ import annotations

from compose.errors import ContainerError
from compose.linux import process
from compose.runtime.supervision.monitor.stop import DEFAULT_GRACE, SIGKILL, SIGTERM, Stopper, signal_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.loop import Timer
    from compose.runtime.supervision.monitor.monitor import Monitor

_RETRY_KILL = 0.1
_MOST_KILLS = 100


class Ending:
    """What is under way to end the present run of one container, if anything."""

    __slots__ = ("_kills", "_monitor", "_stopper", "_timer", "_wanted")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._stopper: Stopper | None = None
        self._timer: Timer | None = None
        self._kills = 0
        self._wanted = False
        """Whether somebody wants this run ended."""

    def stop(self, signal: str | int | None, grace: float | None, *, resume: bool = False) -> None:
        """Stop the container on a user's behalf; `Control` hears of its end.

        With `resume` the machine goes down, and the next boot brings the container back. Raises
        `ContainerError` for what is no signal.
        """
        monitor = self._monitor
        number = self._stop_signal() if signal is None else signal_number(signal)
        monitor.state["resume_at_boot" if resume else "stopped_by_user"] = True
        if monitor.restarter.cancel():
            monitor.finish_for_good()
        elif monitor.pidfd >= 0:
            self._begin(number, grace)
        elif monitor.entering is not None:
            monitor.entering.kill()

    def end_run(self, grace: float | None = None) -> None:
        """Stop the container for its restarter, which starts it again."""
        monitor = self._monitor
        if monitor.pidfd >= 0 and self._stopper is None:
            self._begin(self._stop_signal(), grace)
        elif monitor.entering is not None:
            monitor.entering.kill()

    def end_now(self) -> None:
        """The project is shut down by force."""
        self.stop("KILL", 0)

    def kill(self, signal: str | int) -> None:
        """Send a signal to process 1. Raises `ContainerError`."""
        monitor = self._monitor
        number = signal_number(signal)
        if monitor.pidfd < 0:
            raise ContainerError(f"container {monitor.identity[:12]} is not running")
        fatal = number in (SIGKILL, self._stop_signal())
        if fatal:
            monitor.state["stopped_by_user"] = True
            monitor.write()
        process.pidfd_send_signal(monitor.pidfd, number)
        monitor.event("kill", signal=number)
        if fatal:
            self._thaw()

    def over(self) -> bool:
        """The run is over, and nothing more to be done; whether somebody wanted that."""
        for timer in (self._stopper, self._timer):
            if timer is not None:
                timer.cancel()
        self._stopper = self._timer = None
        self._kills = 0
        wanted, self._wanted = self._wanted, False
        return wanted

    def _begin(self, signal: int, grace: float | None) -> None:
        monitor = self._monitor
        if grace is None:
            grace = monitor.spec.get("stop_grace_period", DEFAULT_GRACE)
        monitor.write()
        self._wanted = True
        if self._stopper is not None:
            self._stopper.cancel()
        monitor.event("kill", signal=signal)
        self._stopper = Stopper(
            monitor.loop, monitor.pid, monitor.pidfd, signal, grace, self._kill_everything
        )
        self._thaw()

    def _thaw(self) -> None:
        """A frozen process would not get its signal."""
        if self._monitor.state.get("status") == "paused":
            self._monitor.pause(paused=False)

    def _stop_signal(self) -> int:
        """The container's own; SIGTERM for one that does not exist: whatever runs can be stopped."""
        try:
            return signal_number(self._monitor.spec.get("stop_signal"))
        except ContainerError:
            return SIGTERM

    def _kill_everything(self) -> None:
        """SIGKILL to the whole tree, until it is gone."""
        monitor = self._monitor
        self._timer = None
        if monitor.pidfd < 0:
            return
        try:
            process.pidfd_send_signal(monitor.pidfd, SIGKILL)
            assert monitor.group.cgroup is not None
            monitor.group.cgroup.kill()
        except (OSError, ContainerError):
            pass  # it has ended, or the next turn gets it
        self._kills += 1
        if self._kills == 1:
            monitor.event("kill", signal=SIGKILL)
        if self._kills % _MOST_KILLS == 0 and monitor.control is not None:
            monitor.control.give_up_stopping(
                ContainerError(f"container {monitor.identity[:12]}: the kernel cannot end its processes yet")
            )
        self._timer = monitor.loop.after(_RETRY_KILL, self._kill_everything)
