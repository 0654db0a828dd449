"""What a container uses: its control group's counters, and those of its network interfaces."""

from __future__ import annotations

import os
import time

from compose.errors import ContainerError
from compose.runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.spec import ContainerState


class Usage:
    """Counters at one moment; sizes in bytes, what is not known is 0."""

    __slots__ = ("cpu", "limit", "memory", "pids", "read", "received", "sent", "taken", "written")

    def __init__(self, counters: dict[str, int], received: int, sent: int) -> None:
        self.taken = time.monotonic_ns()
        self.cpu = counters.get("cpu", 0)
        """Nanoseconds of processor time."""
        self.memory = counters.get("memory", 0)
        self.limit = counters.get("memory_limit", 0)
        self.pids = counters.get("pids", 0)
        self.read = counters.get("read", 0)
        self.written = counters.get("written", 0)
        self.received = received
        self.sent = sent

    def cpu_percent(self, before: Usage | None) -> float:
        """Of one processor, since `before`."""
        if before is None or self.taken <= before.taken:
            return 0.0
        return max(0.0, 100.0 * (self.cpu - before.cpu) / (self.taken - before.taken))


def measure(state: ContainerState) -> Usage:
    """What a container uses now; nothing for one that does not run."""
    pid = state.get("pid", 0)
    if not pid:
        return Usage({}, 0, 0)
    try:
        return Usage(cgroups.of_process(pid).statistics(), *_transferred(pid))
    except (OSError, ContainerError):  # it has ended meanwhile
        return Usage({}, 0, 0)


def _transferred(pid: int) -> tuple[int, int]:
    """Bytes received and sent by the interfaces of a network namespace that is not the host's own."""
    theirs, ours = os.stat(f"/proc/{pid}/ns/net"), os.stat("/proc/self/ns/net")
    if theirs.st_ino == ours.st_ino:
        return 0, 0
    received = sent = 0
    with open(f"/proc/{pid}/net/dev", encoding="ascii", errors="replace") as file:
        for line in file.read().splitlines()[2:]:
            name, _, numbers = line.partition(":")
            fields = numbers.split()
            if name.strip() != "lo" and len(fields) >= 9:
                received += int(fields[0])
                sent += int(fields[8])
    return received, sent


def memory_of_host() -> int:
    """Bytes: what a container without a limit may use."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
