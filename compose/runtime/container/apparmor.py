"""The AppArmor profile of containers that name none, on hosts that have AppArmor.

It denies what Docker's ``docker-default`` denies: mounts, writing to files of /proc and /sys that are the
whole machine's, signals to and tracing of processes outside. It is loaded when the first container starts,
and stays in the kernel until the machine is restarted: taking it away would free whatever runs under it.
Where a host has no apparmor_parser, or does not let us load profiles (we are in a container or a user
namespace), containers run without one, as under Docker.
"""

from __future__ import annotations

import os
import shutil
from functools import cache

from compose.errors import ContainerError
from compose.linux.namespaces import initial_user_namespace
from compose.runtime.container.modules import has_apparmor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.spec import Process

NAME = "pycompose-default"
DOCKERS = "docker-default"
"""What files call such a profile that were written for Docker."""
_LOADED = "/sys/kernel/security/apparmor/profiles"
_PARSER = "apparmor_parser"
_PATH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
_TEXT = f"""\
profile {NAME} flags=(attach_disconnected,mediate_deleted) {{
  network,
  unix,
  capability,
  file,
  umount,
  deny mount,

  signal (receive) peer=unconfined,
  signal (send, receive) peer={NAME},
  ptrace (trace, read, tracedby, readby) peer={NAME},

  # Of /proc the directories of processes may be written, and kernel.shm* of the container's ipc namespace.
  deny /proc/* w,
  deny /proc/[^1-9s]*/** w,
  deny /proc/s[^y]*/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/[^s]** w,
  deny /proc/sys/kernel/s[^h]** w,
  deny /proc/sys/kernel/sh[^m]** w,
  deny /proc/kcore rwklx,
  deny /proc/sysrq-trigger rwklx,

  # Of /sys the container's control groups.
  deny /sys/[^f]** wklx,
  deny /sys/f[^s]** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
}}
"""


def default() -> str:
    """The profile of containers that name none; empty where there is none."""
    return NAME if _parser() or (has_apparmor() and is_loaded(NAME)) else ""


@cache
def _parser() -> str | None:
    """The program that loads profiles, where there is one and it can."""
    if not has_apparmor() or not initial_user_namespace() or not os.access(_LOADED, os.R_OK):
        return None
    return shutil.which(_PARSER, path=_PATH)


def is_loaded(name: str) -> bool:
    """Whether the kernel has a profile."""
    try:
        with open(_LOADED, encoding="utf-8", errors="replace") as file:
            return any(line.startswith(f"{name} (") for line in file)
    except OSError:
        return False


def load() -> None:
    """Have the kernel know the default profile. Raises `ContainerError`."""
    if is_loaded(NAME):
        return
    program = _parser()
    if program is None:
        raise ContainerError(f"AppArmor profile {NAME}: there is no {_PARSER}", hint="apt install apparmor")
    import subprocess

    done = subprocess.run([program, "-Kr"], input=_TEXT.encode(), capture_output=True)
    if done.returncode:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it failed"])[-1]
        hint = 'run it without one: security_opt: ["apparmor=unconfined"]'
        raise ContainerError(f"AppArmor profile {NAME}: {_PARSER}: {last}", hint=hint)


def make_ready(process: Process) -> None:
    """Load the default profile if `process` is to have it. Raises `ContainerError`."""
    if process.get("apparmorProfile") == NAME:
        load()
