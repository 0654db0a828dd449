"""Limits and devices of a service whose values no kernel could keep.

Ranges are those of Docker's engine, which finds them out when a container is made; here the file is to blame,
so that the place in it is named. `canonical` has run: sizes are texts of bytes, counts are numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.model.tree import Map, error
from compose.model.values import WrongValue, byte_size

if TYPE_CHECKING:
    from compose.model.tree import Path


class _Range(NamedTuple):
    least: int
    most: int
    also: tuple[int, ...] = ()
    """Values outside that mean "no limit" or "as it is"."""
    unit: str = ""

    def problem(self, value: int) -> str:
        if self.least <= value <= self.most or value in self.also:
            return ""
        return f"{value} is not between {self.least} and {self.most}{self.unit}"


_RANGES = {
    "cpu_period": _Range(1_000, 1_000_000, unit=" microseconds"),
    "cpu_quota": _Range(1_000, 2**53, (-1,), " microseconds"),
    "cpu_rt_period": _Range(1, 2**31, unit=" microseconds"),
    "cpu_rt_runtime": _Range(1, 2**31, unit=" microseconds"),
    "cpu_shares": _Range(2, 262_144, (0,)),
    "mem_swappiness": _Range(0, 100, (-1,)),
    "oom_score_adj": _Range(-1_000, 1_000),
}
_WEIGHT = _Range(10, 1_000, (0,))
_THROTTLES = ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops")
_DEVICE_RULE = re.compile(r"[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}\Z")
_CDI_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_.-]*=[A-Za-z0-9][A-Za-z0-9_.:-]*\Z")
_CPUSET = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\Z")
_ULIMITS = frozenset(
    (
        *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
        *("rss", "rtprio", "rttime", "sigpending", "stack"),
    )
)


def is_cdi_name(text: str) -> bool:
    """Whether a device is named as the Container Device Interface does it: ``vendor.com/class=name``."""
    return bool(_CDI_NAME.match(text))


def check_limits(service: Map, path: Path) -> None:
    """Raise ModelError for the first value that cannot be kept."""
    for key, bounds in _RANGES.items():
        if service.get(key) is not None:
            _refuse(service, key, path, bounds.problem(int(float(service[key]))))
    for function in (_blocks, _devices, _device_rules, _cpuset, _ulimits, _storage):
        function(service, path)


def _refuse(place: Map, key: str, path: Path, problem: str, hint: str | None = None) -> None:
    if problem:
        raise error(place.where(key)[0], (*path, key), problem, hint)


def _blocks(service: Map, path: Path) -> None:
    blocks = service.get("blkio_config")
    if not isinstance(blocks, Map):
        return
    if blocks.get("weight") is not None:
        _refuse(blocks, "weight", (*path, "blkio_config"), _WEIGHT.problem(blocks["weight"]))
    for key in ("weight_device", *_THROTTLES):
        entries: Any = blocks.get(key)
        for index, entry in enumerate(entries or ()):
            here = (*path, "blkio_config", key, index)
            if not str(entry.get("path") or "").startswith("/"):
                hint = "write `path: /dev/sda`"
                raise error(entries.where(index), here, "needs the path of a block device", hint)
            if key == "weight_device":
                _refuse(entry, "weight", here, _WEIGHT.problem(entry.get("weight") or 0))
            elif int(entry.get("rate") or 0) < 0:
                _refuse(entry, "rate", here, f"{entry['rate']} is less than 0", "write 0 or more")


def _devices(service: Map, path: Path) -> None:
    devices: Any = service.get("devices")
    for index, device in enumerate(devices or ()):
        access = str(device.get("permissions") or "rwm")
        source, target = str(device.get("source") or ""), str(device.get("target") or "")
        problem, hint = "", "write HOST:CONTAINER:rwm, such as /dev/ttyUSB0:/dev/ttyUSB0:rw"
        if is_cdi_name(source):
            continue
        if not source.startswith("/"):
            problem = f"`{source}` is neither a path nor the name of a CDI device"
        elif "/" not in target:
            problem = f"`{target}` is not an absolute path"
        elif not set(access) <= set("rwm"):
            problem = f"`{access}` is not a combination of r (read), w (write) and m (mknod)"
        if problem:
            raise error(devices.where(index), (*path, "devices", index), problem, hint)


def _device_rules(service: Map, path: Path) -> None:
    rules: Any = service.get("device_cgroup_rules")
    for index, rule in enumerate(rules or ()):
        if not _DEVICE_RULE.match(str(rule)):
            hint = 'write "c 1:3 mr": a, b or c, then major:minor or *, then some of r, w, m'
            where = (*path, "device_cgroup_rules", index)
            raise error(rules.where(index), where, f"`{rule}` is not a rule for devices", hint)


def _cpuset(service: Map, path: Path) -> None:
    value = str(service.get("cpuset") or "0")
    if not _CPUSET.match(value):
        _refuse(service, "cpuset", path, f"`{value}` is not a list of CPUs", "write 0-3, or 0,2")


def _ulimits(service: Map, path: Path) -> None:
    limits: Any = service.get("ulimits")
    for name in limits or ():
        if name not in _ULIMITS:
            hint = f"there are {', '.join(sorted(_ULIMITS))}"
            raise error(limits.where(name)[0], (*path, "ulimits", name), "there is no such limit", hint)


def _storage(service: Map, path: Path) -> None:
    options: Any = service.get("storage_opt")
    if not isinstance(options, Map) or "size" not in options:
        return
    try:
        size = byte_size(options["size"])
    except ValueError as problem:
        wrong = problem if isinstance(problem, WrongValue) else WrongValue(str(problem))
        _refuse(options, "size", (*path, "storage_opt"), wrong.problem, wrong.hint)
    else:
        _refuse(options, "size", (*path, "storage_opt"), "" if size > 0 else f"`{size}` is no size")
