"""Ending a container: its stop signal, a grace period, then SIGKILL to everything in its control group.

Process 1 of a pid namespace only gets signals that it catches or blocks (pid_namespaces(7)), so that waiting
for one that does neither would only waste the grace period: it is killed as soon as two looks, 50 ms apart,
agree; not where the grace period has no end.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

from compose.errors import ContainerError
from compose.linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.runtime.loop import Loop, Timer

SIGKILL = 9
SIGTERM = 15
DEFAULT_GRACE = 10.0
"""Seconds between the stop signal and SIGKILL."""
_SECOND_LOOK = 0.05


def signal_number(signal: str | int | None) -> int:
    """SIGTERM, TERM, 15, "15" or RTMIN+3 as a number; None and "" mean SIGTERM. Raises `ContainerError`."""
    if signal is None or signal == "":
        return SIGTERM
    text = str(signal).upper()
    if text.isdecimal():
        if len(text) < 3 and 1 <= int(text) <= 64:
            return int(text)
        raise ContainerError(f"signal {signal}: no such signal")
    name, plus, offset = text.removeprefix("SIG").partition("+")
    if not plus:
        name, minus, offset = name.partition("-")
        plus = minus
    sign = -1 if plus == "-" else 1
    found = getattr(_signal, f"SIG{name}", None)
    if (
        not isinstance(found, int)
        or name in ("_DFL", "_IGN", "_BLOCK", "_UNBLOCK", "_SETMASK")
        or (plus and not (offset.isdecimal() and len(offset) < 3))
    ):
        raise ContainerError(f"signal {signal}: no such signal")
    number = int(found) + (sign * int(offset) if plus else 0)
    if not 1 <= number <= 64:
        raise ContainerError(f"signal {signal}: no such signal")
    return number


def hears(pid: int, signal: int) -> bool:
    """Whether process 1 `pid` of a pid namespace would get `signal`: it catches or blocks it."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            text = file.read(8192)
    except OSError:
        return False
    mask = 0
    for line in text.splitlines():
        if line.startswith((b"SigBlk:", b"SigCgt:")):
            mask |= int(line[7:], 16)
    return bool(mask >> (signal - 1) & 1)


def is_init(pid: int) -> bool:
    """Whether the process is number 1 of a pid namespace below ours."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            text = file.read(8192)
    except OSError:
        return False
    for line in text.splitlines():
        if line.startswith(b"NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == b"1"
    return False


class Stopper:
    """One attempt to end the process `pid`; its end is noticed elsewhere, by the pidfd, which calls
    `cancel`."""

    __slots__ = ("_kill", "_loop", "_pid", "_pidfd", "_signal", "_timers")

    def __init__(
        self, loop: Loop, pid: int, pidfd: int, signal: int, grace: float, kill: Callable[[], None]
    ) -> None:
        """`grace` is in seconds, negative for ever; `kill` ends everything at once."""
        self._loop = loop
        self._pid = pid
        self._pidfd = pidfd
        self._signal = signal
        self._kill = kill
        self._timers: list[Timer] = []
        if signal == SIGKILL or grace == 0:
            kill()
            return
        self._send()
        if grace > 0 and is_init(pid) and not hears(pid, signal):
            self._timers.append(loop.after(_SECOND_LOOK, self._look_again))
        if grace > 0:
            self._timers.append(loop.after(grace, kill))

    def _look_again(self) -> None:
        if hears(self._pid, self._signal):
            self._send()
        else:
            self._kill()

    def _send(self) -> None:
        try:
            process.pidfd_send_signal(self._pidfd, self._signal)
        except ProcessLookupError:
            pass

    def cancel(self) -> None:
        """Do no more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
