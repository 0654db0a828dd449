"""The helpers' own place in the kernel's choice of victims: last, where that may be had.

A keeper or monitor that the kernel ends for want of memory is replaced, but its successor needs memory as
well. Containers do not inherit the favour: what they get is their configuration's value, or what the helper
was started with.
"""

from __future__ import annotations

from compose.linux.files import write_value

FILE = "/proc/self/oom_score_adj"
_PROTECTED = -999

_original: int | None = None


def protect(score: int = _PROTECTED) -> None:
    """Make this process, and those that it forks, the last to be killed; without CAP_SYS_RESOURCE nothing
    happens."""
    global _original
    with open(FILE, "rb", buffering=0) as file:
        original = int(file.read())
    try:
        write(score)
    except OSError:
        return
    _original = original


def original() -> int | None:
    """What a process that we start must be given back; None when nothing was changed."""
    return _original


def write(score: int) -> None:
    """Set the score of the calling process."""
    write_value(FILE, str(score))
