"""Taking over a container from a monitor that died, at whatever moment.

What that one had done stands in state.json. It was killed

    status            while it                        what its successor does
    created, exited   started it for a client         ends whatever is in the control group
    restarting        waited, or started it again     the same, then waits again
    running, paused   watched it, or after its end    goes on, or records the end
"""

from __future__ import annotations

import os

from compose.errors import ContainerError
from compose.linux import process
from compose.runtime import records
from compose.runtime.supervision import hold, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.spec import ContainerState
    from compose.runtime.supervision.monitor.monitor import Monitor

_LAST_BREATH = 2.0
_RUNNING = ("running", "paused")
"""The statuses with which process 1 is there, or was when it was last heard of."""
_STARTING_ERROR = "its monitor died while it started the container"


def adopt(monitor: Monitor) -> None:
    """Be the successor of a monitor that has died.

    Errors end this process: the keeper tries again later, and the container runs on. Only one whose records
    are gone is given up, and one whose monitor lives, although nobody reaches it, is left to it.
    """
    if not os.path.isdir(monitor.paths.container(monitor.identity)):
        monitor.close()
        return
    monitor.spec = records.read_spec(monitor.paths, monitor.identity)
    if not is_the_only_one(monitor, seconds=_LAST_BREATH):  # a channel ends before its monitor does
        return
    monitor.state = records.recorded_state(monitor.paths, monitor.identity)
    monitor.checkup.end_left_probe()
    alone = not monitor.link.own_names("")  # the keeper is not the one that held what there was
    monitor.prepare()
    if alone and monitor.state.get("status") in _RUNNING:
        monitor.streams.tell_losses(runs=_still_runs(monitor.state))
    go_on(monitor, monitor.state)


def is_the_only_one(monitor: Monitor, *, seconds: float) -> bool:
    """Whether there is no other monitor for the container, and from now on there will be none; if there is,
    this process ends without a trace."""
    directory = monitor.paths.container(monitor.identity)
    if not os.path.isdir(directory) or hold.hold(directory, seconds=seconds) >= 0:
        return True
    monitor.link.done()
    monitor.loop.stop()
    return False


def runs_unwatched(state: ContainerState) -> bool:
    """Whether the container runs of which this is on record, for whoever is now its only monitor."""
    return state.get("status") in _RUNNING and _still_runs(state)


def go_on(monitor: Monitor, state: ContainerState) -> None:
    """Do what the predecessor would have done next."""
    monitor.state = state
    monitor.group.find(monitor.spec)
    status = state.get("status")
    if status in records.RUNNING and not spawn.is_stopping(monitor.paths, monitor.context.project):
        monitor.reopening.begin()
    if status in _RUNNING:
        _watch_again(monitor)
        return
    monitor.group.end_stragglers()
    if status == "restarting":
        monitor.restarter.plan()
        return
    monitor.failed(ContainerError(_STARTING_ERROR))
    monitor.close()


def _still_runs(state: ContainerState) -> bool:
    same_boot = state.get("boot_id") == records.boot_id()
    return same_boot and records.lives(state.get("pid", 0), state.get("start_time", 0))


def _watch_again(monitor: Monitor) -> None:
    """The container runs, or ran when it was last heard of."""
    monitor.pid = monitor.state.get("pid", 0)
    monitor.pidfd = _own_pidfd(monitor)
    if monitor.pidfd >= 0:
        monitor.group.enter_again(monitor.spec)
    monitor.group.kills_before = monitor.state.get("oom_kills", 0)
    monitor.write()
    if monitor.pidfd < 0 or monitor.state.get("exit_code") is not None:  # the predecessor had learnt it
        monitor.run_ended(monitor.state.get("exit_code"))
        return
    monitor.files.resume(monitor.spec["oci"].get("mounts") or (), monitor.state.get("files") or {})
    monitor.watch(resumed=True)
    if monitor.state.get("status") == "paused":
        monitor.checkup.pause(paused=True)
    if monitor.state.get("restarting_unhealthy") or monitor.state.get("restarting_by_hand"):
        monitor.ending.end_run()
    if monitor.state.get("poststart_due"):
        monitor.begun([], lambda _told: None)


def _own_pidfd(monitor: Monitor) -> int:
    """The keeper's pidfd of process 1, else one of the process that state.json proves to be it, or -1."""
    held = monitor.link.own("process")
    if held:
        return held[0]
    if monitor.state.get("boot_id") != records.boot_id() or monitor.pid <= 0:
        return -1
    try:
        pidfd = process.pidfd_open(monitor.pid)
    except OSError:
        return -1
    if records.start_time(monitor.pid) == monitor.state.get("start_time"):
        monitor.link.put_own({"process": [pidfd]})
        return pidfd
    os.close(pidfd)
    return -1
