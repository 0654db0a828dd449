"""What to tell the user of a limit that this host cannot keep: which one, why, and what to do.

`explain` gets the names that a `Cgroup` has collected: a controller that is not there (``memory``), or a file
of one that is (``memory.memsw.limit_in_bytes``). Loaded only where something is missing.
"""

from __future__ import annotations

from compose.runtime.cgroups import common, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LIMITS = {
    "memory": "memory is not limited",
    "cpu": "CPU time is not limited",
    "cpuset": "CPUs are not assigned",
    "pids": "the number of processes is not limited",
    "blkio": "block devices are not limited",
    "io": "block devices are not limited",
    "hugetlb": "huge pages are not limited",
}
_ONLY_V1 = "there is no such thing in control groups version 2"
_WITHOUT_BFQ = "this kernel shares no block device by weight"
_BFQ = "modprobe bfq, then write bfq into /sys/block/DEVICE/queue/scheduler"
_FILES = {
    "memory.memsw.limit_in_bytes": (
        *("memswap_limit: swap is not limited", "this kernel does not count it"),
        *("boot with swapaccount=1",),
    ),
    "memory.swap.max": (
        *("memswap_limit: swap is not limited", "this kernel does not count it"),
        *("boot with swapaccount=1",),
    ),
    "memory.swappiness": ("mem_swappiness: not kept", _ONLY_V1, "use memswap_limit"),
    "memory.oom_control": ("oom_kill_disable: not kept", _ONLY_V1, "use oom_score_adj"),
    "cpu.rt_runtime_us": (
        *("cpu_rt_runtime: not kept", "this host gives groups no budget of real time"),
        *("use version 1 of control groups and a kernel with CONFIG_RT_GROUP_SCHED",),
    ),
    "cpu.rt_period_us": (
        *("cpu_rt_period: not kept", "this host gives groups no budget of real time"),
        *("use version 1 of control groups and a kernel with CONFIG_RT_GROUP_SCHED",),
    ),
    "blkio.weight": ("blkio_config.weight: not kept", _WITHOUT_BFQ, _BFQ),
    "blkio.weight_device": (
        *("blkio_config.weight_device: not kept", "the device is not shared by weight"),
        *("write bfq into /sys/block/DEVICE/queue/scheduler",),
    ),
    "io.weight": ("blkio_config.weight: not kept", _WITHOUT_BFQ, _BFQ),
    "io.max": (
        *("blkio_config: rates are not limited", "this kernel cannot throttle (CONFIG_BLK_DEV_THROTTLING)"),
        *("remove them",),
    ),
}
_FILES["io.bfq.weight"] = _FILES["blkio.weight_device"]


def explain(names: Iterable[str], path: str) -> list[str]:
    """One line for each limit; `path` is the group's, relative to the root."""
    lines = []
    for name in names:
        if name in _LIMITS:
            reason, remedy = _controller(name, path)
            lines.append(f"{_LIMITS[name]}: {reason}; {remedy}")
        elif name in _FILES:
            what, reason, remedy = _FILES[name]
            lines.append(f"{what}: {reason}; {remedy}")
        else:
            lines.append(f"{name} is not there on this host: that limit is not kept")
    return list(dict.fromkeys(lines))


def _controller(name: str, path: str) -> tuple[str, str]:
    """Why a controller is not there, and what gives it."""
    version = versions.version()
    if version == 2 and name in common.words(f"{common.ROOT}/cgroup.controllers"):
        if path.startswith("user.slice/"):
            remedy = "systemctl edit user@.service, and write [Service] Delegate=yes"
            return f"systemd does not pass the controller {name} on to users", remedy
        return _interrupted(name, path)
    hierarchy, enabled = _known_to_kernel().get("blkio" if name == "io" else name, (0, None))
    if enabled is None:
        return f"this kernel has no controller {name}", "use one that has"
    if not enabled:
        return f"the controller {name} is switched off", f"boot with cgroup_enable={name}"
    if version == 2:
        taken = f"the controller {name} is mounted as version 1" if hierarchy else f"there is no {name} here"
        return taken, "boot with cgroup_no_v1=all"
    directory = f"{common.ROOT}/{name}"
    mount = f"mkdir -p {directory} && mount -t cgroup -o {name} {name} {directory}"
    return f"the controller {name} is not mounted", mount


def _interrupted(name: str, path: str) -> tuple[str, str]:
    """Which group above a container's keeps a controller to itself, and what makes it pass it on.

    A group with processes cannot, unless it is the whole machine's: as in a container of another engine.
    """
    directory = common.ROOT
    for part in path.split("/"):
        if name not in common.words(f"{directory}/cgroup.subtree_control"):
            break
        directory = f"{directory}/{part}"
    reason = f"{directory} does not pass the controller {name} on"
    if not common.words(f"{directory}/cgroup.procs"):
        return reason, f"echo +{name} > {directory}/cgroup.subtree_control"
    leaf = f"{directory}/init"
    moved = f"for p in $(cat {directory}/cgroup.procs); do echo $p > {leaf}/cgroup.procs; done"
    return f"{reason}, for it has processes itself", f"mkdir {leaf}; {moved}"


def _known_to_kernel() -> dict[str, tuple[int, bool | None]]:
    """Hierarchy (0: none of version 1) and whether it is switched on, by controller, from /proc/cgroups."""
    try:
        lines = common.read("/proc/cgroups").splitlines()
    except OSError:
        return {}
    fields = [line.split() for line in lines if not line.startswith("#")]
    return {one[0]: (int(one[1]), one[3] == "1") for one in fields if len(one) == 4}
