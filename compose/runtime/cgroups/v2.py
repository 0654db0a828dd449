"""Control groups version 2: one tree, controllers passed on level by level."""

from __future__ import annotations

import os
import select

from compose.errors import ContainerError
from compose.linux.files import CGROUP2_SUPER_MAGIC, file_system_type, write_value
from compose.runtime.cgroups import common, devices, systemd
from compose.runtime.cgroups.common import (
    OWN_LEAF,
    Cgroup,
    keyed,
    make_group,
    number,
    read,
    refuse_open_devices,
    remove_groups,
    remove_tree,
    words,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")
_NEEDED = ("cpu", "cpuset", "io", "memory", "pids")
_EOPNOTSUPP = 95


def is_unified() -> bool:
    """Whether /sys/fs/cgroup itself is the version 2 tree."""
    try:
        descriptor = os.open(common.ROOT, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return file_system_type(descriptor) == CGROUP2_SUPER_MAGIC
    finally:
        os.close(descriptor)


def own_path() -> str:
    """The calling process's group, relative to the root."""
    for line in read("/proc/self/cgroup").splitlines():
        if line.startswith("0::"):
            return line[3:].strip("/")
    return ""


def prepare(project: str) -> tuple[str, list[str]]:
    """See `versions.prepare`."""
    base = ""
    if systemd.is_running():
        try:
            name = f"pycompose-{project}.scope"
            systemd.enter_scope(name, os.getpid(), f"pycompose project {project}", OWN_LEAF)
            base = own_path().removesuffix(f"/{OWN_LEAF}")
        except OSError:
            base = ""
    if not base:
        base = f"pycompose/{project}"
        make_group(f"{common.ROOT}/{base}")
    leaf = f"{common.ROOT}/{base}/{OWN_LEAF}"
    make_group(leaf)
    write_value(f"{leaf}/cgroup.procs", "0")
    return base, [name for name in _NEEDED if name not in enable_controllers(base)]


def enable_controllers(path: str) -> list[str]:
    """Pass every controller on, from the root down to the children of `path`; returns those that arrived."""
    directory = common.ROOT
    _enable(directory)
    for part in path.strip("/").split("/"):
        directory = f"{directory}/{part}"
        _enable(directory)
    return read(f"{directory}/cgroup.subtree_control").split()


def _enable(directory: str) -> None:
    there = read(f"{directory}/cgroup.controllers").split()
    enabled = read(f"{directory}/cgroup.subtree_control").split()
    for name in CONTROLLERS:
        if name in there and name not in enabled:
            try:
                write_value(f"{directory}/cgroup.subtree_control", f"+{name}")
            except OSError:  # not delegated, or processes in the way: reported as missing
                continue


def _passes_all_on(directory: str) -> bool:
    """Whether the groups below get every controller that the group has: the usual case is one look."""
    there = set(read(f"{directory}/cgroup.controllers").split()) & set(CONTROLLERS)
    return set(_NEEDED) <= there <= set(read(f"{directory}/cgroup.subtree_control").split())


def remove_base(base: str) -> None:
    """See `versions.remove_base`. A systemd scope ends by itself with its last process."""
    if base.endswith(".scope"):
        systemd.wait_for_end(base.rpartition("/")[2])
        return
    paths = [f"{base}/{OWN_LEAF}", base]
    if base.startswith("pycompose/"):
        paths.append("pycompose")
    remove_groups(f"{common.ROOT}/{path}" for path in paths)


class CgroupV2(Cgroup):
    """One directory."""

    __slots__ = ("_directory",)

    def __init__(self, path: str, *, make: bool) -> None:
        super().__init__(path)
        self._directory = f"{common.ROOT}/{path}"
        if make:
            base = os.path.dirname(path)
            if make_group(f"{common.ROOT}/{base}") or not _passes_all_on(f"{common.ROOT}/{base}"):
                enable_controllers(base)
            self.fresh = make_group(self._directory)

    def join(self) -> None:
        write_value(f"{self._directory}/cgroup.procs", "0")

    def entrances(self) -> list[str]:
        return []

    def birthplace(self) -> str:
        return self._directory

    def update(self, resources: dict[str, Any]) -> None:
        missing: list[str] = []
        for controller, file, value in settings(resources):
            self._set(controller, file, value, missing)
        self._share_blocks(resources.get("blockIO") or {}, missing)
        self._unify(resources.get("unified") or {})
        if resources.get("devices"):
            try:
                devices.attach(self._directory, resources["devices"])
            except OSError as error:
                refuse_open_devices(f"attach a program: {os.strerror(error.errno or 0)}")
        self.unavailable = list(dict.fromkeys([*self.unavailable, *missing]))

    def _set(self, controller: str, file: str, value: str, missing: list[str]) -> None:
        try:
            write_value(f"{self._directory}/{file}", value)
        except FileNotFoundError:
            there = controller in words(f"{self._directory}/cgroup.controllers")
            missing.append(file if there else controller)
        except OSError as error:
            if error.errno == _EOPNOTSUPP:
                missing.append(file)
                return
            raise ContainerError(f"set {file} to {value}: {os.strerror(error.errno or 0)}") from None

    def _unify(self, files: dict[str, str]) -> None:
        """Files by their own names: what is not there is an error (OCI config-linux.md, Unified)."""
        for file, value in files.items():
            absent: list[str] = []
            self._set(file.partition(".")[0], file, value, absent)
            if absent:
                why = f"there is no such file in {self._directory}"
                if absent != [file]:
                    why = f"the controller {absent[0]} is not available"
                raise ContainerError(f"linux.resources.unified: {file}: {why}")

    def _share_blocks(self, blocks: dict[str, Any], missing: list[str]) -> None:
        """Weights go to whoever shares the device: the BFQ scheduler (10 to 1000) or io.cost (1 to 10000)."""
        wanted = [("default", blocks["weight"])] if blocks.get("weight") else []
        for one in blocks.get("weightDevice") or ():
            wanted.append((f"{one['major']}:{one['minor']}", one["weight"]))
        for which, weight in wanted:
            tries: list[list[str]] = [[], []]
            self._set("io", "io.bfq.weight", f"{which} {weight}", tries[0])
            self._set("io", "io.weight", f"{which} {weight_of_blocks(weight)}", tries[1])
            if all(tries):
                missing += tries[1] if which == "default" else tries[0]

    def pids(self) -> list[int]:
        found = []
        for path, _, _ in os.walk(self._directory):
            try:
                found += [int(word) for word in read(f"{path}/cgroup.procs").split()]
            except OSError:  # removed meanwhile, or a threaded group
                continue
        return found

    def freeze(self, *, frozen: bool) -> None:
        wanted = int(frozen)
        write_value(f"{self._directory}/cgroup.freeze", str(wanted))
        events = os.open(f"{self._directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
        try:
            poll = select.poll()
            poll.register(events, select.POLLPRI)
            while f"frozen {wanted}" not in os.pread(events, 4096, 0).decode():
                if not poll.poll(10_000):
                    raise OSError(110, "freeze: the processes do not come to rest")
        finally:
            os.close(events)

    def is_frozen(self) -> bool:
        try:
            return read(f"{self._directory}/cgroup.freeze").strip() == "1"
        except OSError:
            return False

    def kill(self) -> None:
        try:
            write_value(f"{self._directory}/cgroup.kill", "1")
        except FileNotFoundError:
            return

    def oom_kills(self) -> int:
        found = keyed(f"{self._directory}/memory.events")
        return found.get("oom_kill", 0)

    def open_oom_events(self) -> tuple[int, bool]:
        try:
            descriptor = os.open(f"{self._directory}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # no memory controller
            return -1, True
        self.clear_oom_events(descriptor)
        return descriptor, True

    def clear_oom_events(self, descriptor: int) -> None:
        try:
            os.pread(descriptor, 4096, 0)  # the kernel tells of changes since the last time it was read
        except OSError:  # ENODEV: the group is gone
            return

    def statistics(self) -> dict[str, int]:
        found = {}
        inactive = keyed(f"{self._directory}/memory.stat").get("inactive_file", 0)
        if os.path.exists(f"{self._directory}/memory.current"):
            found["memory"] = max(0, number(f"{self._directory}/memory.current") - inactive)
            found["memory_limit"] = number(f"{self._directory}/memory.max")
        usage = keyed(f"{self._directory}/cpu.stat").get("usage_usec")
        if usage is not None:
            found["cpu"] = usage * 1000
        if os.path.exists(f"{self._directory}/pids.current"):
            found["pids"] = number(f"{self._directory}/pids.current")
        return found | transferred(f"{self._directory}/io.stat")

    def open_mounts(self) -> dict[str, int] | None:
        return None

    def remove(self) -> None:
        remove_tree(self._directory)


def transferred(path: str) -> dict[str, int]:
    """Bytes ``read`` and ``written`` over all devices, from lines ``8:0 rbytes=4096 wbytes=0 ...``."""
    found = {"read": 0, "written": 0}
    try:
        words = read(path).split()
    except OSError:
        return {}
    for word in words:
        key, _, value = word.partition("=")
        if key in ("rbytes", "wbytes"):
            found["read" if key == "rbytes" else "written"] += int(value)
    return found


def settings(resources: dict[str, Any]) -> list[tuple[str, str, str]]:
    """OCI resources as (controller, file, value) of version 2."""
    found: list[tuple[str, str, str]] = []
    memory = resources.get("memory") or {}
    limit = memory.get("limit")
    if limit:
        found.append(("memory", "memory.max", _limit(limit)))
    if memory.get("reservation"):
        found.append(("memory", "memory.low", _limit(memory["reservation"])))
    if memory.get("swap"):  # OCI: memory and swap together; here: swap alone
        swap = memory["swap"]
        found.append(
            ("memory", "memory.swap.max", "max" if swap < 0 else str(max(0, swap - max(limit or 0, 0))))
        )
    # What only version 1 has is asked for all the same: that there is no such file is said to the user.
    if memory.get("swappiness") is not None:
        found.append(("memory", "memory.swappiness", str(memory["swappiness"])))
    if memory.get("disableOOMKiller"):
        found.append(("memory", "memory.oom_control", "1"))
    cpu = resources.get("cpu") or {}
    for key, file in (("realtimePeriod", "cpu.rt_period_us"), ("realtimeRuntime", "cpu.rt_runtime_us")):
        if cpu.get(key):
            found.append(("cpu", file, str(cpu[key])))
    if cpu.get("shares"):
        found.append(("cpu", "cpu.weight", str(weight_of_shares(cpu["shares"]))))
    if cpu.get("quota") or cpu.get("period"):
        quota = cpu.get("quota") or -1
        found.append(("cpu", "cpu.max", f"{'max' if quota < 0 else quota} {cpu.get('period') or 100000}"))
    for key, file in (("cpus", "cpuset.cpus"), ("mems", "cpuset.mems")):
        if cpu.get(key):
            found.append(("cpuset", file, cpu[key]))
    pids = (resources.get("pids") or {}).get("limit")
    if pids:
        found.append(("pids", "pids.max", _limit(pids)))
    for page in resources.get("hugepageLimits") or ():
        found.append(("hugetlb", f"hugetlb.{page['pageSize']}.max", str(page["limit"])))
    found += _block_settings(resources.get("blockIO") or {})
    return found


def weight_of_shares(shares: int) -> int:
    """cpu.shares (2 to 262144) on the scale of cpu.weight (1 to 10000), as runc converts it."""
    return 1 + (min(max(shares, 2), 262144) - 2) * 9999 // 262142


def weight_of_blocks(weight: int) -> int:
    """blkio.weight (10 to 1000) on the scale of io.weight (1 to 10000), as runc converts it."""
    return 1 + (weight - 10) * 9999 // 990


def _block_settings(blocks: dict[str, Any]) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    limits = {
        "throttleReadBpsDevice": "rbps",
        "throttleWriteBpsDevice": "wbps",
        "throttleReadIOPSDevice": "riops",
        "throttleWriteIOPSDevice": "wiops",
    }
    for key, word in limits.items():
        for entry in blocks.get(key) or ():
            found.append(("io", "io.max", f"{entry['major']}:{entry['minor']} {word}={entry['rate']}"))
    return found


def _limit(value: int) -> str:
    return "max" if value < 0 else str(value)
