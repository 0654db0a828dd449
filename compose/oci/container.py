"""The directory of one container: ROOT/ID, with a lock on itself.

    state.json      what is known of it (create.py, `_record`); written before anything is made
    seccomp.bpf     the compiled filter, for exec; empty without one
    start.sock      where process 1 waits for ``start``

Status, never from the record alone (OCI runtime specification, runtime, State)

    creating    no process 1 yet, and whoever makes it lives
    created     process 1 waits at its gate
    running     it has executed its program;  paused: and its control group is frozen
    stopped     it has ended, or it was never finished
"""

from __future__ import annotations

import fcntl
import os
import re

from compose.errors import ContainerError
from compose.linux.beneath import remove_path
from compose.runtime import cgroups, records
from compose.runtime.cgroups import systemd
from compose.runtime.container.gate import SOCKET, WAITING
from compose.runtime.supervision import children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

BASE = "pycompose-oci"
"""Control groups of containers whose configuration names none."""
STATE_FILE = "state.json"
SECCOMP_FILE = "seccomp.bpf"
_NAME = re.compile(r"[A-Za-z0-9_+.-]{1,1024}")
_ENDING = 10.0


class Container:
    """A container that has a directory. A context manager that holds its lock."""

    def __init__(self, root: str, identity: str) -> None:
        check_name(identity)
        self.root = root
        self.id = identity
        self.directory = f"{root}/{identity}"
        self.record: dict[str, Any] = {}
        self._lock = -1

    @classmethod
    def make(cls, root: str, identity: str) -> Container:
        """A new one, locked; raises `ContainerError` when the name is taken."""
        found = cls(root, identity)
        os.makedirs(root, mode=0o700, exist_ok=True)
        try:
            os.mkdir(found.directory, 0o700)
        except FileExistsError:
            raise ContainerError(f"container {identity} exists already") from None
        found._take_lock()
        return found

    def __enter__(self) -> Container:
        if self._lock < 0:
            self._take_lock()
            self.read()
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._lock)
        self._lock = -1

    def _take_lock(self) -> None:
        try:
            self._lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise ContainerError(f"container {self.id} does not exist") from None
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def read(self) -> Container:
        """Read state.json; raises `ContainerError` when there is no such container, `StateError` when it is
        damaged."""
        if not os.path.isdir(self.directory):
            raise ContainerError(f"container {self.id} does not exist")
        path = f"{self.directory}/{STATE_FILE}"
        self.record = records.read(path) if os.path.exists(path) else {"version": 1, "id": self.id}
        return self

    def write(self) -> None:
        """Replace state.json."""
        records.write(f"{self.directory}/{STATE_FILE}", self.record)

    @property
    def pid(self) -> int:
        """Process 1 as the host sees it; 0 when it has ended or never was."""
        record = self.record
        pid, started = record.get("pid", 0), record.get("start_time", 0)
        same_boot = record.get("boot_id") == records.boot_id()
        return int(pid) if same_boot and records.lives(pid, started) else 0

    @property
    def status(self) -> str:
        """See the table above."""
        record = self.record
        pid = self.pid
        if not record.get("pid"):
            making = record.get("creator", 0), record.get("creator_start_time", 0)
            return "creating" if records.lives(*making) else "stopped"
        if not pid:
            return "stopped"
        if not record.get("started") and _name_of(pid) == WAITING:
            return "created"
        return "paused" if self.frozen() else "running"

    def cgroup(self) -> Any:
        """Its control group, which need not be there any more."""
        base, _, name = str(self.record["cgroup"]).rpartition("/")
        return cgroups.find(base, name)

    def frozen(self) -> bool:
        """Whether its processes rest."""
        return bool(self.record.get("cgroup")) and self.cgroup().is_frozen()

    def state(self) -> dict[str, Any]:
        """What the specification calls the state."""
        status = self.status
        found: dict[str, Any] = {"ociVersion": self.record.get("oci_version") or "1.2.0", "id": self.id}
        found["status"] = status
        if status in ("created", "running", "paused"):
            found["pid"] = self.pid
        found["bundle"] = self.record.get("bundle") or ""
        found["rootfs"] = self.record.get("rootfs") or ""
        found["created"] = self.record.get("created") or ""
        found["annotations"] = self.record.get("annotations") or {}
        return found

    def end(self) -> None:
        """Kill whatever is left of it; returns when nothing is. Raises `ContainerError`."""
        if not self.record.get("cgroup"):
            return
        group = self.cgroup()
        children.empty_cgroup(group, _ENDING)
        if group.pids():
            raise ContainerError(f"container {self.id}: the kernel cannot end its processes yet")

    def remove(self) -> None:
        """Remove what is left of it when nothing of it runs: control group, directory."""
        if self.record.get("cgroup"):
            group = self.cgroup()
            systemd.wait_for_end(os.path.basename(group.path))
            try:
                children.remove_cgroup(group)
            except OSError as error:
                text = f"remove the control group {self.record['cgroup']}: {error.strerror}"
                raise ContainerError(text) from None
            base = str(self.record["cgroup"]).rpartition("/")[0]
            if base == BASE:
                cgroups.remove_base(base)
        remove_path(self.directory)

    def connect_path(self) -> tuple[str, str]:
        """Directory and name of the socket where process 1 waits."""
        return self.directory, SOCKET


def check_name(identity: str) -> None:
    """Refuse what cannot be the name of a container; raises `ContainerError`."""
    if not _NAME.fullmatch(identity) or identity in (".", ".."):
        raise ContainerError(f"container name {identity!r}: letters, digits and _+.- are allowed")


def _name_of(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def all_in(root: str) -> Iterator[Container]:
    """Every container below a root, by name."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return
    for name in names:
        if _NAME.fullmatch(name) and os.path.isdir(f"{root}/{name}"):
            try:
                yield Container(root, name).read()
            except ContainerError:  # removed while we looked
                continue
