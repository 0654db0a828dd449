"""spec.json and state.json, read and written; and whether what they say is true.

A process is named by its number, its start time (field 22 of /proc/PID/stat) and the boot id: a bare number
may belong to somebody else by now. Nothing is called running here without that proof.
"""

from __future__ import annotations

import errno
import os
import time

from compose.errors import StateError
from compose.runtime.spec import SPEC_FILE, STATE_FILE, VERSION
from compose.state import files

RUNNING = ("running", "paused", "restarting")
"""The statuses of a container that somebody is to watch."""
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from compose.runtime.spec import ContainerSpec, ContainerState
    from compose.state.paths import Paths

_READABLE = (VERSION,)
_PATIENCE = 1.0
"""Seconds within which a dead helper has been replaced, so that its successor tells how the container
ended."""

_boot_id = ""
_gave_up = -_PATIENCE
"""When this process has last given up waiting for somebody to write how a container ended."""


def boot_id() -> str:
    """The identity of this boot of the kernel."""
    global _boot_id
    if not _boot_id:
        with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
            _boot_id = file.read().decode().strip()
    return _boot_id


def process_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (its index 0); empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(4096)
    except OSError:
        return []
    return text[text.rfind(b")") + 2 :].decode("ascii", "replace").split()


def start_time(pid: int) -> int:
    """When the process started, in clock ticks after boot; 0 when there is none."""
    fields = process_fields(pid)
    return int(fields[19]) if len(fields) > 19 else 0


def lives(pid: int, started: int) -> bool:
    """Whether the process of this number and start time runs; a zombie does not."""
    if pid <= 0 or started <= 0:
        return False
    fields = process_fields(pid)
    return len(fields) > 19 and int(fields[19]) == started and fields[0] not in ("Z", "X", "x")


def wait_for_end(pid: int, started: int, *, seconds: float) -> bool:
    """Whether the process of this number and start time has ended, or does so within some seconds."""
    if not lives(pid, started):
        return True
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return True
    from compose.linux.files import readable  # whoever only reads records never waits

    try:
        return readable(pidfd, seconds) or not lives(pid, started)
    finally:
        os.close(pidfd)


def read(path: str) -> Any:
    """A versioned JSON object; raises `StateError` for one that is missing, damaged or of another version."""
    try:
        value = files.read_json(path)
    except FileNotFoundError:
        raise StateError(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StateError(f"{path} is damaged: {error}", hint=f"rm {path}") from None
    if not isinstance(value, dict) or value.get("version") not in _READABLE:
        raise StateError(f"{path} is of a version that this program does not know", hint=f"rm {path}")
    return value


def write(path: str, value: Any, *, durable: bool = False) -> None:
    """Replace a versioned JSON object; readable with cat."""
    files.replace_json(path, value, durable=durable)


def rewrite(path: str, value: Any) -> None:
    """`write` what is smaller than before, or hardly larger: on a full file system too."""
    files.replace_or_overwrite(path, files.readable(value))


def read_spec(paths: Paths, identity: str) -> ContainerSpec:
    """A container's spec.json; raises `StateError`."""
    path = f"{paths.container(identity)}/{SPEC_FILE}"
    spec: ContainerSpec = read(path)
    oci = spec.get("oci")
    if not isinstance(oci, dict) or not isinstance(oci.get("process"), dict) or not spec.get("name"):
        raise StateError(f"{path} is damaged: it lacks what a container is made of", hint=f"rm {path}")
    return spec


def is_half_made(paths: Paths, identity: str) -> bool:
    """Whether a container has neither spec.json nor state.json, as while it is made or removed: nothing of it
    has run yet, or ever will. Any other one whose spec cannot be read may use whatever there is."""
    directory = paths.container(identity)
    return _is_missing(f"{directory}/{SPEC_FILE}") and _is_missing(f"{directory}/{STATE_FILE}")


def _is_missing(path: str) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # nobody knows
        return False
    return False


def find_spec(paths: Paths, identity: str) -> ContainerSpec | None:
    """A container's spec.json; None when there is none that can be read, as in one that is half-made."""
    try:
        return read_spec(paths, identity)
    except StateError:
        return None


def write_spec(paths: Paths, spec: ContainerSpec) -> None:
    """Write spec.json, once, before anything of the container is made; its directory exists afterwards."""
    directory = paths.container(spec["id"])
    os.makedirs(directory, mode=0o700, exist_ok=True)
    write(f"{directory}/{SPEC_FILE}", spec, durable=True)


def recorded_state(paths: Paths, identity: str) -> ContainerState:
    """state.json as it stands, or what is to be written there as soon as that is possible again; a container
    that was never started has none and is "created"."""
    state: ContainerState
    try:
        state = read(_refuge(paths, identity))
    except StateError:
        try:
            state = read(f"{paths.container(identity)}/{STATE_FILE}")
        except StateError as error:
            if not str(error).endswith("is missing"):
                raise
            state = {"version": VERSION, "status": "created"}
    return state


def write_state(paths: Paths, identity: str, state: ContainerState, *, durable: bool = False) -> None:
    """Replace state.json; on a disk that is full too, where `reserve_state` has been called before.

    What cannot be written lies in the container's run-time directory, with the reason in ``unwritten``, until
    somebody can write it; raises that `OSError` all the same.
    """
    path = f"{paths.container(identity)}/{STATE_FILE}"
    refuge = _refuge(paths, identity)
    state.pop("unwritten", None)
    try:
        try:
            write(path, state, durable=durable)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            _write_into_spare(path, state, error)
            reserve_state(paths, identity)
    except OSError as error:
        try:
            write(refuge, {**state, "unwritten": f"{path}: {error.strerror}"})
        except OSError:
            pass
        raise
    try:
        os.unlink(refuge)
    except OSError:
        return


def _write_into_spare(path: str, state: ContainerState, full: OSError) -> None:
    try:
        files.replace_from_spare(path, files.readable(state))
    except FileNotFoundError:  # nothing was reserved: the full disk is what is wrong
        raise full from None


def _refuge(paths: Paths, identity: str) -> str:
    return f"{paths.container_run(identity)}/{STATE_FILE}"


def reserve_state(paths: Paths, identity: str) -> None:
    """Keep room for state.json to be written on a disk that is full, as far as there is any now."""
    try:
        files.keep_spare(f"{paths.container(identity)}/{STATE_FILE}")
    except OSError:
        return


def is_unwatched(state: ContainerState) -> bool:
    """Whether somebody is to watch a container, and its monitor is dead."""
    if state.get("status") not in RUNNING or state.get("boot_id") != boot_id():
        return False
    return not lives(state.get("monitor_pid", 0), state.get("monitor_start_time", 0))


def read_state(paths: Paths, identity: str, revive: Callable[[str], None] | None = None) -> ContainerState:
    """What is true of a container now. Raises `StateError` when its record is damaged.

    `revive` is called with the id of a container whose helpers are all dead, before it is looked at again.

    Waits up to a second while the container has ended and its monitor, or that one's successor, has not
    written so yet. What nobody watched ends as "exited" without an exit code. Who has waited in vain for one
    does not wait for others whose monitors are dead too: all helpers were killed together then.
    """
    global _gave_up
    deadline = time.monotonic() + _PATIENCE
    while True:
        state = recorded_state(paths, identity)
        status = state.get("status", "created")
        if status not in RUNNING:
            return state
        if state.get("boot_id") != boot_id():
            return _ended(state, "the machine was restarted")
        watched = not is_unwatched(state)
        if revive is not None and not watched:
            revive(identity)
            revive, deadline = None, time.monotonic() + _PATIENCE
            continue
        if status != "restarting" and lives(state.get("pid", 0), state.get("start_time", 0)):
            return state
        if status == "restarting" and watched:
            return state
        now = time.monotonic()
        if now > deadline or (not watched and now - _gave_up < _PATIENCE):
            _gave_up = now
            return _ended(state, "nobody watched the container when it ended")
        time.sleep(0.01)


def _ended(state: ContainerState, reason: str) -> ContainerState:
    ended: ContainerState = {**state, "status": "exited", "pid": 0, "exit_code": None, "health": None}
    ended["error"] = reason
    return ended
