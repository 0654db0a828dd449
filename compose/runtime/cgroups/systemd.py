"""A transient systemd scope with Delegate=yes, asked for over D-Bus.

systemd owns the version 2 tree where it runs: whoever makes groups outside of a delegated one may find them
removed or their controllers taken away. The few bytes of the D-Bus protocol that one call needs are written
here; the signature of StartTransientUnit is ssa(sv)a(sa(sv)).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False

_SYSTEM_BUS = "/run/systemd/private"
_MANAGER = "org.freedesktop.systemd1.Manager"
_TIMEOUT = 10.0  # seconds; systemd answers in milliseconds


def is_running() -> bool:
    """Whether systemd is this machine's init (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def start_scope(name: str, pid: int, description: str) -> None:
    """Put process `pid` into a new scope `name` and return once it is there; raises OSError."""
    raise OSError(38, "not yet")
