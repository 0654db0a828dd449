"""The namespaces of other containers: ``spec["shared"]`` names them, here they are opened.

    network     nothing to open: the namespace is pinned, and its path stands in the spec
    pid, ipc    those of the owner's process 1, which must be running: they end with it
    proc        for pid also the owner's mount namespace, where its /proc is looked up (setup.py)
    shm         for ipc also the owner's mount namespace, where its /dev/shm is looked up (setup.py)

They are opened whenever the container starts, so that a restart finds those that its owner has then.
"""

from __future__ import annotations

import os

from compose.errors import ContainerError, StateError
from compose.runtime import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.spec import ContainerSpec
    from compose.state.paths import Paths

_FILES = {
    "pid": {"pid": "pid", "proc": "mnt"},
    "ipc": {"ipc": "ipc", "shm": "mnt"},
}


def open_all(paths: Paths, spec: ContainerSpec) -> dict[str, int]:
    """Descriptors of the namespaces ``pid``, ``proc``, ``ipc`` and ``shm``, as far as they are shared.

    The caller closes them. Raises `ContainerError` when an owner does not run.
    """
    found: dict[str, int] = {}
    try:
        for kind, identity in (spec.get("shared") or {}).items():
            if kind in _FILES:
                found.update(_open(paths, identity, kind))
    except BaseException:
        close_all(found)
        raise
    return found


def close_all(descriptors: dict[str, int]) -> None:
    """Close what `open_all` has opened."""
    for descriptor in descriptors.values():
        os.close(descriptor)


def _open(paths: Paths, identity: str, kind: str) -> dict[str, int]:
    state = records.recorded_state(paths, identity)
    pid = state.get("pid", 0)
    found: dict[str, int] = {}
    try:
        if pid > 0 and state.get("boot_id") == records.boot_id():
            for name, file in _FILES[kind].items():
                found[name] = os.open(f"/proc/{pid}/ns/{file}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        pid = 0
    # Looked at afterwards: as it runs now, nobody else had its number when the files were opened.
    if not records.lives(pid, state.get("start_time", 0)):
        close_all(found)
        name = _name(paths, identity)
        raise ContainerError(
            f"container {name}, whose {kind} namespace is to be shared, is not running",
            hint=f"start {name} first",
        )
    return found


def _name(paths: Paths, identity: str) -> str:
    try:
        return records.read_spec(paths, identity)["name"]
    except StateError:
        return identity[:12]
