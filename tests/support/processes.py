"""The processes that a test started, however they were orphaned since.

The test run is a child subreaper: what is orphaned below it becomes its own child, not that of process 1. So
everything that a test started, containers included, is found below the test run's own process id, and nothing
that anybody else started is.
"""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple

PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """A process that cannot be mistaken for another one."""

    pid: int
    start_time: int


class Stat(NamedTuple):
    """What /proc/PID/stat says."""

    state: str
    parent: int
    start_time: int


def become_subreaper() -> None:
    """Inherit the orphans of everything below this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl PR_SET_CHILD_SUBREAPER")


def stat(pid: int) -> Stat | None:
    """State, parent and start time, or None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Stat(fields[0].decode(), int(fields[1]), int(fields[19]))


def everything() -> dict[int, Stat]:
    """Every process that this one can see."""
    found = {int(name): stat(int(name)) for name in os.listdir("/proc") if name.isdecimal()}
    return {pid: known for pid, known in found.items() if known is not None}


def descendants(known: dict[int, Stat] | None = None) -> dict[Process, str]:
    """Everything below this process that has not ended, with a text that names it."""
    known = everything() if known is None else known
    below = {os.getpid()}
    found = {}
    grew = True
    while grew:
        grew = False
        for pid, state in known.items():
            if state.parent in below and pid not in below:
                below.add(pid)
                grew = True
                if state.state not in "ZX":
                    found[Process(pid, state.start_time)] = describe(pid)
    return found


def describe(pid: int) -> str:
    """One line that names a process."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        with open(f"/proc/{pid}/cgroup", "rb") as file:
            groups = {line.rpartition(b":")[2].decode() for line in file.read().splitlines()} - {"/"}
    except OSError:
        return f"process {pid}"
    return f"process {pid}: {arguments[:200]}" + (f" in {', '.join(sorted(groups))}" if groups else "")


def reap() -> None:
    """Take the exit codes of orphans that ended; a test that wants one has taken it before."""
    for pid, state in everything().items():
        if state.parent == os.getpid() and state.state == "Z":
            os.waitpid(pid, 0)


def reap_adopted() -> None:
    """Take the exit codes of containers' processes that have ended, and have been orphaned to this one.

    Process 1 of a container does not end before they are taken; some tests kill those who should do so.
    A test starts none itself in another pid namespace.
    """
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children") as file:
                children = [int(pid) for pid in file.read().split()]
        except (FileNotFoundError, ProcessLookupError):  # the thread has ended
            continue
        for pid in children:
            if _ended_in_a_container(pid):
                os.waitpid(pid, 0)


def _ended_in_a_container(pid: int) -> bool:
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return fields["State"].split()[0] == "Z" and len(fields["NSpid"].split()) > 1
