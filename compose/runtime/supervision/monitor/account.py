"""What state.json says of a container at each turn of its life: changes of a state, and nothing else."""

from __future__ import annotations

import time

from compose.runtime.spec import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.spec import ContainerSpec, ContainerState

_OF_ONE_RUN = ("error", "exit_code", "finished_at", "resume_at_boot", "restarting_unhealthy")
"""What is said of a run no more when the next one begins."""


def anew(former: ContainerState) -> ContainerState:
    """Before a start by hand: how often it was started is forgotten, how it stands is not."""
    state: ContainerState = {
        "version": VERSION,
        "status": former.get("status", "created"),
        "restart_count": 0,
    }
    if "finished_at" in former:
        state["finished_at"] = former["finished_at"]
    return state


def run_began(state: ContainerState, spec: ContainerSpec, *, pid: int, started: int, oom_kills: int) -> None:
    """Process 1 has been executed; `started` is its start time, `oom_kills` what its group counted before."""
    for key in _OF_ONE_RUN:
        state.pop(key, None)  # type: ignore[misc]
    state.update(
        {
            "status": "running",
            "pid": pid,
            "start_time": started,
            "started_at": time.time_ns(),
            "exit_code": None,
            "oom_killed": False,
            "stopped_by_user": False,
            "health": None,
            "oom_kills": oom_kills,
        }
    )
    if spec.get("healthcheck"):
        state["health"] = {"status": "starting", "failing_streak": 0, "log": []}


def run_ended(state: ContainerState, code: int | None, *, out_of_memory: bool) -> None:
    """A run is over; what the status is now depends on whether another one follows."""
    state.update(
        {
            "pid": 0,
            "exit_code": code,
            "oom_killed": out_of_memory,
            "finished_at": time.time_ns(),
            "health": None,
        }
    )
    if code is None:
        state["error"] = "how the container ended could not be learnt"


def start_failed(state: ContainerState, error: Exception) -> None:
    """It could not be started for a client."""
    state["status"] = "exited" if "finished_at" in state else "created"
    state.update({"error": str(error), "pid": 0, "health": None, "exit_code": exit_code_of(error)})


def restart_began(state: ContainerState) -> None:
    """It is about to be started again, by its policy, its health or a user."""
    by_hand = state.pop("restarting_by_hand", False)
    state["restart_count"] = 0 if by_hand else state.get("restart_count", 0) + 1
    if by_hand:
        state.pop("restart_attempts", None)
    if state.pop("restarting_unhealthy", False):
        state["restart_reason"] = "unhealthy"
    else:
        state.pop("restart_reason", None)


def restart_failed(state: ContainerState, error: Exception) -> int:
    """It could not be started again, which counts as a run that took no time; its exit code."""
    code, now = exit_code_of(error), time.time_ns()
    state.update({"error": str(error), "started_at": now, "finished_at": now, "exit_code": code})
    return code


def exit_code_of(error: Exception) -> int:
    """As Docker has it: 127 for a command that is not there, 126 for one that cannot be executed, else
    128."""
    return {"not found": 127, "permission": 126}.get(getattr(error, "reason", ""), 128)
