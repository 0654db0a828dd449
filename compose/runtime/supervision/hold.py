"""A container's monitor is whoever holds the lock of its directory: there is never a second one.

A keeper knows its own monitors, and those of a former one only after they have registered; one that is busy
starting its container does that late. The lock is flock(2) on the directory itself: it goes with the process
and leaves no file. What a monitor forks keeps it until it executes its program.
"""

from __future__ import annotations

import fcntl
import os
import time

_PAUSE = 0.01


def hold(directory: str, *, seconds: float = 0.0) -> int:
    """Take the lock: a descriptor to keep open, or -1 when somebody else still has it after some seconds.

    Raises `OSError` when there is no such directory.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return -1
        time.sleep(_PAUSE)


def is_held(directory: str) -> bool:
    """Whether somebody has the lock."""
    try:
        descriptor = hold(directory)
    except OSError:
        return False
    if descriptor >= 0:
        os.close(descriptor)
    return descriptor < 0
