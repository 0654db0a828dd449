"""The OCI configuration of a container with Docker's defaults, for the engine to fill in."""

from __future__ import annotations

import os
import stat

from compose.runtime.container import capabilities
from compose.runtime.spec import DEFAULT_PATH, SHARED_SHM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from compose.runtime.spec import OciConfig, User

SHM_SIZE = 64 << 20

MASKED_PATHS = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys/devices/virtual/powercap", "/sys/firmware"),
)
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_PROCESSORS = "/sys/devices/system/cpu"

_SAFE = ("nosuid", "noexec", "nodev")
_DEVICE_RULES: tuple[tuple[str, int | None, int | None, str], ...] = (
    *(("c", None, None, "m"), ("b", None, None, "m")),
    *(("c", 1, minor, "rwm") for minor in (3, 5, 7, 8, 9)),
    *(("c", 5, minor, "rwm") for minor in (0, 1, 2)),
    ("c", 136, None, "rwm"),
)
"""What a container may do with device nodes: make any, use these (null zero full random urandom tty console
ptmx, and the slaves of its own devpts)."""


def default_oci(
    args: Sequence[str],
    *,
    env: Iterable[str] = (),
    cwd: str = "/",
    user: User | None = None,
    hostname: str = "",
    domainname: str = "",
    terminal: bool = False,
    privileged: bool = False,
    readonly: bool = False,
    cap_add: Iterable[str] = (),
    cap_drop: Iterable[str] = (),
    shm_size: int = SHM_SIZE,
    own_network: bool = True,
    pid: str = "",
    ipc: str = "",
    uts: str = "",
    cgroup: str = "",
    sysctls: Mapping[str, str] | None = None,
    no_new_privileges: bool = False,
) -> OciConfig:
    """A configuration like the one that Docker gives a container with these options.

    `pid`, `ipc`, `uts` and `cgroup`: "" for a namespace of its own, "host" for the caller's, "shared" for
    that of another container (``shared`` in the spec names it), else the path of one to join; `ipc` may be
    "none" too, which is one of its own without a /dev/shm. The network namespace is named in the container's
    spec (``network_namespace``); `own_network` says that this is no other container's, nor the host's.
    `user` without a username and uid is root. Append to ``mounts`` (`bind`, `tmpfs`), ``linux.devices``,
    ``linux.resources`` and ``process.rlimits`` as needed:
    order does not matter.
    """
    names = capabilities.select(cap_add, cap_drop, privileged=privileged)
    return {
        "ociVersion": "1.2.0",
        "process": {
            "terminal": terminal,
            "user": user if user is not None else {"username": ""},
            "args": list(args),
            "env": environment(env, hostname=hostname, terminal=terminal),
            "cwd": cwd,
            "capabilities": {"bounding": names, "effective": names, "permitted": names},
            "noNewPrivileges": no_new_privileges,
        },
        "root": {"readonly": readonly},
        "hostname": "" if uts == "host" else hostname,
        "domainname": "" if uts == "host" else domainname,
        "mounts": default_mounts(privileged=privileged, shm_size=shm_size, ipc=ipc),
        "linux": {
            "namespaces": _namespaces(pid=pid, ipc=ipc, uts=uts, cgroup=cgroup),
            "sysctl": {**(_sysctls() if own_network else {}), **(sysctls or {})},
            "devices": host_devices() if privileged else [],
            "resources": {"devices": device_rules(privileged=privileged)},
            "maskedPaths": [] if privileged else [*MASKED_PATHS, *_thermal_paths()],
            "readonlyPaths": [] if privileged else list(READ_ONLY_PATHS),
        },
        "annotations": {},
    }


def environment(entries: Iterable[str], *, hostname: str = "", terminal: bool = False) -> list[str]:
    """`entries` after what Docker sets for every process; the last of several with one name counts."""
    found = {"PATH": DEFAULT_PATH}
    if hostname:
        found["HOSTNAME"] = hostname
    if terminal:
        found["TERM"] = "xterm"
    for entry in entries:
        key, equals, value = entry.partition("=")
        if equals:
            found[key] = value
        else:
            found.pop(key, None)
    return [f"{key}={value}" for key, value in found.items()]


def default_mounts(
    *, privileged: bool = False, shm_size: int = SHM_SIZE, ipc: str = ""
) -> list[dict[str, Any]]:
    """/proc, /dev, /sys and what lies in them; `ipc` as in `default_oci`."""
    access = "rw" if privileged else "ro"
    found = [
        _mount("/proc", "proc", _SAFE),
        _mount("/dev", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
        _mount(
            "/dev/pts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
        ),
        _mount("/sys", "sysfs", (*_SAFE, access)),
        _mount("/sys/fs/cgroup", "cgroup", (*_SAFE, "relatime", access)),
    ]
    found.append(_mount("/dev/mqueue", "mqueue", _SAFE))  # shows the queues of the ipc namespace, whose ever
    if ipc == "none":
        return found
    if ipc == "host":
        return [*found, bind("/dev/shm", "/dev/shm")]
    if ipc == "shared":
        return [*found, _mount("/dev/shm", SHARED_SHM, _SAFE)]
    shm = _mount("/dev/shm", "tmpfs", (*_SAFE, "mode=1777", f"size={shm_size}"))
    return [*found, {**shm, "source": "shm"}]


def bind(
    source: str, destination: str, *, readonly: bool = False, recursive: bool = True, propagation: str = ""
) -> dict[str, Any]:
    """A bind mount; read-only includes what is mounted below the source, as in Docker 25 and later."""
    words = ["rbind" if recursive else "bind", propagation or "rprivate"]
    if readonly:
        words.append("rro" if recursive else "ro")
    return {"destination": destination, "type": "bind", "source": source, "options": words}


def tmpfs(destination: str, options: Iterable[str] = ()) -> dict[str, Any]:
    """A tmpfs with Docker's options; without a mode it takes mode and owner of the directory it covers."""
    return _mount(destination, "tmpfs", (*_SAFE, *options))


def device_rules(*, privileged: bool = False) -> list[dict[str, Any]]:
    """OCI ``linux.resources.devices``: all forbidden but the standard ones; everything when privileged."""
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    for kind, major, minor, access in _DEVICE_RULES:
        rules.append({"allow": True, "type": kind, "major": major, "minor": minor, "access": access})
    return rules


def device(
    host_path: str, path: str, access: str = "rwm"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """``--device``: (entries for ``linux.devices``, rules for ``linux.resources.devices``).

    A directory stands for every device below it. Raises OSError when there is no such device.
    """
    if stat.S_ISDIR(os.stat(host_path).st_mode):
        nodes = [_device(found, path + found.removeprefix(host_path)) for found in _walk(host_path)]
    else:
        nodes = [_device(host_path, path)]
    return nodes, [device_rule(node, access) for node in nodes]


def device_rule(node: Mapping[str, Any], access: str) -> dict[str, Any]:
    """The rule that allows `access` to the device of an entry for ``linux.devices``."""
    kind = {"u": "c"}.get(node["type"], node["type"])
    return {"allow": True, "type": kind, "major": node["major"], "minor": node["minor"], "access": access}


def host_devices() -> list[dict[str, Any]]:
    """Every device of the host, for a privileged container; not its terminals and shared memory."""
    return [{**_device(path, path), "optional": True} for path in _walk("/dev")]


_NOT_PASSED = frozenset({"pts", "shm", "fd", "mqueue", "console", ".lxc", ".lxd-mounts", ".udev"})


def _walk(directory: str) -> list[str]:
    found = []
    with os.scandir(directory) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name in _NOT_PASSED or entry.is_symlink():
                continue
            if entry.is_dir(follow_symlinks=False):
                found += _walk(entry.path)
            elif stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) in (stat.S_IFCHR, stat.S_IFBLK):
                found.append(entry.path)
    return found


def _device(source: str, path: str) -> dict[str, Any]:
    found = os.stat(source)
    kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
    kind = kinds.get(stat.S_IFMT(found.st_mode))
    if kind is None:
        raise OSError(19, "not a device")
    return {
        "path": path,
        "source": source,
        "type": kind,
        "major": os.major(found.st_rdev),
        "minor": os.minor(found.st_rdev),
        "fileMode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
    }


def _mount(destination: str, kind: str, options: Iterable[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": kind, "options": list(options)}


def _namespaces(*, pid: str, ipc: str, uts: str, cgroup: str) -> list[dict[str, str]]:
    found = [{"type": "mount"}]
    for kind, where in (
        ("pid", pid),
        ("ipc", "" if ipc == "none" else ipc),
        ("uts", uts),
        ("cgroup", cgroup),
    ):
        if where not in ("host", "shared"):
            found.append({"type": kind, "path": where} if where else {"type": kind})
    return found


def _sysctls() -> dict[str, str]:
    return {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


def _thermal_paths() -> list[str]:
    try:
        names = sorted(os.listdir(_PROCESSORS))
    except OSError:
        return []
    processors = (name for name in names if name[:3] == "cpu" and name[3:].isdigit())
    paths = [f"{_PROCESSORS}/{name}/thermal_throttle" for name in processors]
    return [path for path in paths if os.path.isdir(path)]
