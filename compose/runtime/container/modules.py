"""Security modules of the kernel: what confines a process from its next execve on.

The label is written by the process that will execute the program, while it still sees the host's /proc: an
image cannot put something else in its place. Nothing is executed before the program itself.
"""

from __future__ import annotations

import os

from compose.linux.files import write_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.spec import Process

_APPARMOR_ENABLED = "/sys/module/apparmor/parameters/enabled"
_APPARMOR = ("/proc/self/attr/apparmor/exec", "/proc/self/attr/exec")
_SELINUX = "/proc/self/attr/exec"
_SELINUX_MOUNTED = "/sys/fs/selinux/enforce"


def has_apparmor() -> bool:
    """Whether profiles of AppArmor mean something on this host."""
    try:
        with open(_APPARMOR_ENABLED, "rb") as file:
            return file.read(1) == b"Y"
    except OSError:
        return False


def has_selinux() -> bool:
    """Whether contexts of SELinux mean something on this host."""
    return os.path.exists(_SELINUX_MOUNTED)


def confine(process: Process) -> None:
    """Say what confines the calling process after its next execve; raises OSError."""
    for path, text in labels(process):
        write_value(path, text)


def labels(process: Process) -> list[tuple[str, str]]:
    """The files that a process writes to for that, and what."""
    found = []
    if profile := process.get("apparmorProfile"):
        path = _APPARMOR[0] if os.path.exists(_APPARMOR[0]) else _APPARMOR[1]
        found.append((path, f"exec {profile}"))
    if context := process.get("selinuxLabel"):
        found.append((_SELINUX, context))
    return found
