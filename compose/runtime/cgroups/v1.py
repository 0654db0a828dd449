"""Control groups version 1: a hierarchy a controller, the same path in each."""

from __future__ import annotations

import os

from compose.linux import mount as m
from compose.linux.files import write_value
from compose.runtime.cgroups import common
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
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_NEEDED = ("memory", "cpu", "cpuset", "pids", "devices", "freezer", "blkio", "hugetlb")
_SETTINGS = {
    ("memory", "limit"): ("memory", "memory.limit_in_bytes"),
    ("memory", "reservation"): ("memory", "memory.soft_limit_in_bytes"),
    ("memory", "swap"): ("memory", "memory.memsw.limit_in_bytes"),
    ("memory", "swappiness"): ("memory", "memory.swappiness"),
    ("memory", "disableOOMKiller"): ("memory", "memory.oom_control"),
    ("cpu", "shares"): ("cpu", "cpu.shares"),
    ("cpu", "period"): ("cpu", "cpu.cfs_period_us"),
    ("cpu", "quota"): ("cpu", "cpu.cfs_quota_us"),
    ("cpu", "realtimePeriod"): ("cpu", "cpu.rt_period_us"),
    ("cpu", "realtimeRuntime"): ("cpu", "cpu.rt_runtime_us"),
    ("cpu", "cpus"): ("cpuset", "cpuset.cpus"),
    ("cpu", "mems"): ("cpuset", "cpuset.mems"),
    ("pids", "limit"): ("pids", "pids.max"),
    ("blockIO", "weight"): ("blkio", "blkio.weight"),
}
"""OCI resource -> controller and file. A value that says "no limit" is not written to a new group."""

_THROTTLES = {
    "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
    "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
    "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
    "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
    "weightDevice": "blkio.weight_device",
}
_SUCCESSORS = {
    "blkio.weight": "blkio.bfq.weight",
    "blkio.weight_device": "blkio.bfq.weight_device",
}
"""CFQ's files, which ended with Linux 5.0, and those of BFQ, which took its place."""
FREEZER = "freezer"
_EOPNOTSUPP = 95
_FREEZE_ROUNDS = 10_000


def hierarchies() -> dict[str, str]:
    """Mount point of each hierarchy by its name: ``memory``, ``cpu,cpuacct``, ``systemd``.

    The freezer's is the first: groups are made in this order and removed in the opposite one, so that all of
    what a killed process has left is found there (`leftovers`). Looked up again when something has been made
    or removed where they are mounted.
    """
    key = common.ROOT, os.stat(common.ROOT).st_mtime_ns
    if key not in _known:
        _known.clear()
        _known[key] = _find_hierarchies()
    return _known[key]


_known: dict[tuple[str, int], dict[str, str]] = {}


def _find_hierarchies() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ")[:3]
        point = left.split(" ")[4]
        if kind == "cgroup" and point.startswith(common.ROOT + "/"):
            found.setdefault(os.path.basename(point), point)
    return dict(sorted(found.items(), key=lambda one: one[0] != FREEZER))


def by_controller(found: dict[str, str]) -> dict[str, str]:
    """Mount points by controller: ``cpu`` and ``cpuacct`` may share one."""
    return {controller: point for name, point in found.items() for controller in name.split(",")}


def prepare(project: str) -> tuple[str, list[str]]:
    """See `versions.prepare`."""
    base = f"pycompose/{project}"
    group = CgroupV1(f"{base}/{OWN_LEAF}", make=True)
    group.join()
    known = by_controller(hierarchies())
    return base, [name for name in _NEEDED if name not in known and name != "hugetlb"]


def remove_base(base: str) -> None:
    """See `versions.remove_base`."""
    for point in reversed(hierarchies().values()):
        remove_groups([f"{point}/{base}/{OWN_LEAF}", f"{point}/{base}", f"{point}/{base.split('/')[0]}"])


class CgroupV1(Cgroup):
    """One directory in each hierarchy."""

    __slots__ = ("_directories",)

    def __init__(self, path: str, *, make: bool) -> None:
        super().__init__(path)
        self._directories = {name: f"{point}/{path}" for name, point in hierarchies().items()}
        if make:
            self._make()

    def _make(self) -> None:
        self.fresh = True
        for name, directory in list(self._directories.items()):
            try:
                made = make_group(directory)
                self.fresh &= made
                if made and "cpuset" in name.split(","):
                    _fill_cpuset(directory)
            except OSError as error:
                if error.errno not in (1, 13, 30):  # EPERM, EACCES, EROFS: not ours to use
                    raise
                del self._directories[name]

    def _of(self, controller: str) -> str | None:
        for name, directory in self._directories.items():
            if controller in name.split(","):
                return directory
        return None

    def join(self) -> None:
        # "0" to `tasks` moves the calling thread, which is the whole process here, without the global lock
        # that cgroup.procs takes: that one waits for an RCU grace period, 10 to 20 ms for each container.
        for path in self.entrances():
            write_value(path, "0")

    def entrances(self) -> list[str]:
        return [f"{directory}/tasks" for directory in self._directories.values()]

    def birthplace(self) -> str:
        return ""

    def update(self, resources: dict[str, Any]) -> None:
        missing: list[str] = []
        for (section, key), (controller, file) in _ordered(resources):
            value = resources[section][key]
            if key == "realtimeRuntime":
                self._grant_realtime(resources["cpu"], missing)
                continue
            unlimited = file == "pids.max" and value <= 0  # 0 is no limit, as with runc
            self._set(controller, file, "max" if unlimited else _text(value), missing)
        blocks = resources.get("blockIO") or {}
        for key, file in _THROTTLES.items():
            for entry in blocks.get(key) or ():
                amount = entry.get("rate", entry.get("weight", 0))
                self._set("blkio", file, f"{entry['major']}:{entry['minor']} {amount}", missing)
        for page in resources.get("hugepageLimits") or ():
            self._set("hugetlb", f"hugetlb.{page['pageSize']}.limit_in_bytes", str(page["limit"]), missing)
        self._allow_devices(resources.get("devices") or ())
        self.unavailable = list(dict.fromkeys([*self.unavailable, *missing]))

    def _allow_devices(self, rules: Sequence[dict[str, Any]]) -> None:
        """Write the rules in their order; the kernel takes one with each write."""
        directory = self._of("devices")
        if not rules:
            return
        if directory is None:
            refuse_open_devices("there is no devices controller")
            return
        files: dict[str, int] = {}
        try:
            for rule in rules:
                name = "devices.allow" if rule.get("allow") else "devices.deny"
                if name not in files:
                    files[name] = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.write(files[name], device_rule(rule).encode())
                except OSError as error:
                    raise _refused(name, device_rule(rule), error) from None
        finally:
            for descriptor in files.values():
                os.close(descriptor)

    def _set(self, controller: str, file: str, value: str, missing: list[str]) -> None:
        directory = self._of(controller)
        if directory is None:
            missing.append(controller)
            return
        try:
            try:
                write_value(f"{directory}/{file}", value)
            except FileNotFoundError:
                if file not in _SUCCESSORS:
                    raise
                write_value(f"{directory}/{_SUCCESSORS[file]}", value)
        except FileNotFoundError:
            missing.append(file)
        except OSError as error:
            if error.errno == _EOPNOTSUPP:
                missing.append(file)
                return
            raise _refused(file, value, error) from None

    def _grant_realtime(self, cpu: dict[str, Any], missing: list[str]) -> None:
        directory = self._of("cpu")
        if directory is None:
            missing.append("cpu")
            return
        from compose.runtime.cgroups import realtime

        above = directory.removesuffix(f"/{self.path}")
        if not realtime.grant(above, self.path, cpu["realtimeRuntime"], cpu.get("realtimePeriod")):
            missing.append("cpu.rt_runtime_us")

    def pids(self) -> list[int]:
        directory = self._of("freezer") or next(iter(self._directories.values()), "")
        return _pids(directory)

    def freeze(self, *, frozen: bool) -> None:
        directory = self._of("freezer")
        if directory is None:
            raise OSError(95, "freeze: no freezer controller")
        state = "FROZEN" if frozen else "THAWED"
        for _ in range(_FREEZE_ROUNDS):  # a process that forks meanwhile makes it start over
            write_value(f"{directory}/freezer.state", state)
            if read(f"{directory}/freezer.state").strip() == state:
                return

    def is_frozen(self) -> bool:
        try:
            return read(f"{self._of('freezer') or ''}/freezer.state").strip() != "THAWED"
        except OSError:
            return False

    def kill(self) -> None:
        frozen = self._of("freezer") is not None
        try:
            if frozen:
                self.freeze(frozen=True)
            for pid in self.pids():
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    continue
        except FileNotFoundError:
            return
        finally:
            if frozen:
                try:
                    self.freeze(frozen=False)
                except FileNotFoundError:
                    frozen = False

    def oom_kills(self) -> int:
        return keyed(f"{self._of('memory') or ''}/memory.oom_control").get("oom_kill", 0)

    def open_oom_events(self) -> tuple[int, bool]:
        events = -1
        try:
            control = os.open(f"{self._of('memory') or ''}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                events = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                write_value(f"{self._of('memory')}/cgroup.event_control", f"{events} {control}")
            finally:
                os.close(control)
        except OSError:  # no memory controller: nothing is killed for it either
            if events >= 0:
                os.close(events)
            return -1, False
        return events, False

    def clear_oom_events(self, descriptor: int) -> None:
        try:
            os.eventfd_read(descriptor)
        except BlockingIOError:
            return

    def statistics(self) -> dict[str, int]:
        memory, cpu, pids = self._of("memory"), self._of("cpuacct"), self._of("pids")
        found = {}
        if memory:
            inactive = keyed(f"{memory}/memory.stat").get("total_inactive_file", 0)
            found["memory"] = max(0, number(f"{memory}/memory.usage_in_bytes") - inactive)
            limit = number(f"{memory}/memory.limit_in_bytes")
            found["memory_limit"] = 0 if limit > 1 << 60 else limit
        if cpu:
            found["cpu"] = number(f"{cpu}/cpuacct.usage")
        if pids:
            found["pids"] = number(f"{pids}/pids.current")
        blocks = self._of("blkio")
        if blocks:
            found |= transferred(f"{blocks}/blkio.throttle.io_service_bytes_recursive")
        return found

    def open_mounts(self) -> dict[str, int] | None:
        found = {}
        for name, directory in self._directories.items():
            found[name] = m.open_tree(m.AT_FDCWD, directory, m.OPEN_TREE_CLONE)
        return found

    def remove(self) -> None:
        for directory in reversed(self._directories.values()):
            remove_tree(directory)


def transferred(path: str) -> dict[str, int]:
    """Bytes ``read`` and ``written`` over all devices, from lines ``8:0 Read 4096``."""
    found = {"read": 0, "written": 0}
    try:
        lines = read(path).splitlines()
    except OSError:
        return {}
    for line in lines:
        words = line.split()
        if len(words) == 3 and words[1] in ("Read", "Write"):
            found["read" if words[1] == "Read" else "written"] += int(words[2])
    return found


def device_rule(rule: dict[str, Any]) -> str:
    """An OCI device rule as the devices controller writes it: ``c 1:3 rwm``."""
    kind = rule.get("type") or "a"
    if kind == "a" and rule.get("major") is None:
        return "a"
    numbers = ":".join("*" if value is None or value < 0 else str(value) for value in _numbers(rule))
    return f"{kind} {numbers} {rule.get('access') or 'rwm'}"


def _numbers(rule: dict[str, Any]) -> tuple[int | None, int | None]:
    return rule.get("major"), rule.get("minor")


def _ordered(resources: dict[str, Any]) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """The settings that are asked for; memory before memory and swap, which may not be smaller."""
    return [
        (key, target)
        for key, target in _SETTINGS.items()
        if _is_set((resources.get(key[0]) or {}).get(key[1]))
    ]


def _is_set(value: object) -> bool:
    return value not in (None, "") and value is not False


def _text(value: object) -> str:
    if value is True:
        return "1"
    if isinstance(value, int) and value < 0:
        return "-1"
    return str(value)


def _fill_cpuset(directory: str) -> None:
    """A new cpuset is empty and takes nobody: copy what the one above has, which may be new as well."""
    above = os.path.dirname(directory)
    for file in ("cpuset.cpus", "cpuset.mems"):
        value = read(f"{above}/{file}").strip()
        if not value:
            _fill_cpuset(above)
            value = read(f"{above}/{file}").strip()
        write_value(f"{directory}/{file}", value)


def _pids(directory: str) -> list[int]:
    found = []
    for path, _, _ in os.walk(directory):
        try:
            found += [int(word) for word in read(f"{path}/cgroup.procs").split()]
        except OSError:  # removed meanwhile
            continue
    return found


def _refused(file: str, value: str, error: OSError) -> Exception:
    from compose.errors import ContainerError

    return ContainerError(f"set {file} to {value}: {os.strerror(error.errno or 0)}")
