"""The processes of a container, as /proc shows them from outside: nothing is run inside."""

from __future__ import annotations

import os

from compose.runtime import cgroups, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_TICKS = os.sysconf("SC_CLK_TCK")
_MAX_LINE = 1 << 16


class Process:
    """One process; `pid` and `parent` are those of the host, as all of these."""

    __slots__ = ("command", "cpu", "parent", "pid", "started", "terminal", "user")

    def __init__(
        self, pid: int, parent: int, user: int, terminal: int, started: float, cpu: float, command: str
    ) -> None:
        self.pid = pid
        self.parent = parent
        self.user = user
        """Effective user id."""
        self.terminal = terminal
        """Device number of the controlling terminal; 0 for none."""
        self.started = started
        """Seconds since the epoch."""
        self.cpu = cpu
        """Seconds of processor time, used so far."""
        self.command = command


def of_container(pid: int) -> list[Process]:
    """The processes in the control group of the container whose process 1 is `pid`, by number.

    Who is in the group and outside of its pid namespace is one of ours that lets health probes be born there.
    """
    try:
        numbers = cgroups.of_process(pid).pids()
        depth = _depth(_read(f"/proc/{pid}/status"))
    except OSError:
        return []
    boot = _boot_time()
    found = [_look(number, boot, depth) for number in sorted(set(numbers))]
    return [process for process in found if process is not None]


def _boot_time() -> int:
    for line in _read("/proc/stat").split(b"\n"):
        if line.startswith(b"btime "):
            return int(line[6:])
    return 0


def _look(pid: int, boot: int, depth: int) -> Process | None:
    """A process, or None when it has ended meanwhile or is in fewer pid namespaces than `depth`."""
    fields = records.process_fields(pid)
    try:
        status = _read(f"/proc/{pid}/status")
        arguments = _read(f"/proc/{pid}/cmdline").rstrip(b"\0")
        name = _read(f"/proc/{pid}/comm").rstrip(b"\n")
    except OSError:
        return None
    if len(fields) < 20 or _depth(status) < depth:
        return None
    command = arguments.replace(b"\0", b" ") if arguments else b"[" + name + b"]"
    if fields[0] == "Z":
        command = b"[" + name + b"] <defunct>"
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    started = boot + int(fields[19]) / _TICKS
    text = command.decode("utf-8", "surrogateescape")
    return Process(pid, int(fields[1]), _user(status), int(fields[4]), started, cpu, text)


def _user(status: bytes) -> int:
    for line in status.split(b"\n"):
        if line.startswith(b"Uid:"):
            return int(line.split()[2])
    return 0


def _depth(status: bytes) -> int:
    """In how many pid namespaces a process has a number."""
    for line in status.split(b"\n"):
        if line.startswith(b"NSpid:"):
            return len(line.split()) - 1
    return 0


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read(_MAX_LINE)


def terminal_name(device: int) -> str:
    """``pts/3``, ``tty1`` or ``?``, as ps says it."""
    major, minor = os.major(device), os.minor(device)
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    return f"tty{minor}" if major == 4 else "?"


def users(lookup: Callable[[int], str]) -> Callable[[int], str]:
    """`lookup` of names by id, asked once for each."""
    known: dict[int, str] = {}

    def name(uid: int) -> str:
        if uid not in known:
            known[uid] = lookup(uid)
        return known[uid]

    return name
