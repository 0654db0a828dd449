"""The one protocol over both versions of control groups, and what both do with files."""

from __future__ import annotations

import os

from compose.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

ROOT = "/sys/fs/cgroup"
OWN_LEAF = "_keeper"
"""Where a project's own processes live: a group with processes cannot pass controllers on (v2)."""


class Cgroup:
    """The control group of one container.

    `path` is relative to the hierarchy's root. `unavailable` names what was asked for and cannot be given on
    this host, a controller or one of its files; `missing.explain` has the words for it.
    """

    __slots__ = ("fresh", "path", "unavailable")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fresh = False
        """Whether it was made just now, so that nothing has ever run in it."""
        self.unavailable: list[str] = []

    def join(self) -> None:
        """Move the calling process in; called in the child, before it enters any namespace."""
        raise NotImplementedError

    def entrances(self) -> list[str]:
        """The files to each of which a process writes "0" to `join`; none where `birthplace` serves."""
        raise NotImplementedError

    def birthplace(self) -> str:
        """The directory that clone3(2) can put a new process into; "" for version 1."""
        raise NotImplementedError

    def update(self, resources: dict[str, Any]) -> None:
        """Set OCI ``linux.resources``; adds to `unavailable`."""
        raise NotImplementedError

    def pids(self) -> list[int]:
        """The processes in the group and below, as seen from here."""
        raise NotImplementedError

    def freeze(self, *, frozen: bool) -> None:
        """Stop all processes where they are, or let them go on; returns when that is so."""
        raise NotImplementedError

    def is_frozen(self) -> bool:
        """Whether its processes rest, or are about to."""
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL to everything in the group, without a chance to fork away."""
        raise NotImplementedError

    def oom_kills(self) -> int:
        """How many processes of the group the kernel has killed for want of memory."""
        raise NotImplementedError

    def open_oom_events(self) -> tuple[int, bool]:
        """A descriptor that tells of `oom_kills`, and whether by EPOLLPRI; -1 where there is none."""
        raise NotImplementedError

    def clear_oom_events(self, descriptor: int) -> None:
        """Make the descriptor tell of the next one."""
        raise NotImplementedError

    def statistics(self) -> dict[str, int]:
        """``memory`` (bytes), ``memory_limit`` (bytes, 0: none), ``cpu`` (ns), ``pids``, ``read`` and
        ``written`` (bytes, from and to disks); what is known."""
        raise NotImplementedError

    def open_mounts(self) -> dict[str, int] | None:
        """v1: a detached clone of the group's directory in each hierarchy, by name. v2: None."""
        raise NotImplementedError

    def remove(self) -> None:
        """Remove the group; its processes must have ended. A group that is gone already is fine."""
        raise NotImplementedError


def refuse_open_devices(why: str) -> None:
    """Raise ContainerError unless the kernel keeps devices from containers anyway, in a user namespace.

    Whoever may make device nodes could read and write every disk of the host otherwise.
    """
    from compose.linux.namespaces import initial_user_namespace

    if not initial_user_namespace():
        return
    raise ContainerError(
        f"limit access to devices: {why}",
        hint="mount the devices controller, or allow bpf(2) for control groups (CONFIG_CGROUP_BPF)",
    )


def make_group(directory: str) -> bool:
    """Make a group, and those above it that are missing; whether it was not there.

    Everybody may read it, whatever the umask is: programs without root in a container look limits up.
    """
    former = os.umask(0o022)
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        return False
    except FileNotFoundError:
        os.makedirs(directory, 0o755, exist_ok=True)
    finally:
        os.umask(former)
    return True


def remove_groups(paths: Iterable[str]) -> None:
    """Remove the groups that nobody uses; in use, or not there: both are fine."""
    for path in paths:
        try:
            os.rmdir(path)
        except OSError:
            continue


def read(path: str) -> str:
    """The text of a control file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 16):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts).decode()


def words(path: str) -> list[str]:
    """A control file that is a list of words; empty when it is not there."""
    try:
        return read(path).split()
    except OSError:
        return []


def keyed(path: str) -> dict[str, int]:
    """A flat keyed file (``key value`` lines) as numbers; empty when it is not there."""
    try:
        lines = read(path).splitlines()
    except OSError:
        return {}
    return {key: int(value) for key, _, value in (line.partition(" ") for line in lines) if value.isdigit()}


def number(path: str) -> int:
    """A control file that holds one number; 0 for "max" and when it is not there."""
    try:
        text = read(path).strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def remove_tree(path: str) -> None:
    """Remove a group and the groups below it, deepest first; raises OSError EBUSY when one has processes."""
    try:
        os.rmdir(path)
        return
    except FileNotFoundError:
        return
    except OSError:  # most have none below
        pass
    try:
        with os.scandir(path) as entries:
            below = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for group in below:
        remove_tree(group)
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
