"""One test at a time that touches the machine, whoever runs it.

Tests with real namespaces look at the whole machine before and after. Two runs at once would see each other,
so each such test holds one lock for its whole life, set-up and clean-up included. The lock is the kernel's:
it goes when its holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = os.path.join(tempfile.gettempdir(), "pycompose-tests.lock")


@contextlib.contextmanager
def machine() -> Iterator[None]:
    """Hold the machine's lock; waits for as long as somebody else needs it."""
    descriptor = os.open(PATH, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child may still hold a copy of the descriptor
        os.close(descriptor)
