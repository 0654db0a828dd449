"""What of the host's hardware a service asks for, looked up: devices, limits of block devices, CPUs."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ContainerError
from compose.runtime.container.oci import device

from .cdi import Registry, no_edits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from .cdi import Edits

_NVIDIA = "nvidia.com/gpu"
_THROTTLES = {
    "device_read_bps": "throttleReadBpsDevice",
    "device_write_bps": "throttleWriteBpsDevice",
    "device_read_iops": "throttleReadIOPSDevice",
    "device_write_iops": "throttleWriteIOPSDevice",
}
_EVERYTHING = "rwm"


class HostDevices(NamedTuple):
    """What a container gets of the host's devices, as OCI has it."""

    edits: Edits
    """Nodes, rules of access after the standard ones, and what vendors add to their devices."""
    blocks: dict[str, Any]
    """``linux.resources.blockIO``."""


def find(service: Mapping[str, Any]) -> HostDevices:
    """Look up everything that `service` names. Raises `ContainerError` for what this host does not have."""
    _check_cpus(str(service.get("cpuset") or ""))
    edits = _described(service)
    privileged = bool(service.get("privileged"))
    for index, entry in enumerate(service.get("devices") or ()):
        source, target = str(entry["source"]), os.path.join("/", str(entry["target"]))
        if not source.startswith("/") or (privileged and source == target):  # all of the host's are there
            continue
        access = _EVERYTHING if privileged else str(entry.get("permissions") or _EVERYTHING)
        try:
            nodes, rules = device(source, target, access)
        except OSError as error:
            raise ContainerError(
                f"devices[{index}]: {source}: {error.strerror or error}",
                hint="plug it in, load its driver, or remove it from 'devices'",
            ) from None
        edits.nodes.extend(nodes)
        edits.rules.extend(rules)
    for rule in service.get("device_cgroup_rules") or ():
        edits.rules.extend(cgroup_rules(str(rule)))
    return HostDevices(edits, _blocks(service))


def _described(service: Mapping[str, Any]) -> Edits:
    """What the devices add that the service wants by their vendors' description."""
    reservations = ((service.get("deploy") or {}).get("resources") or {}).get("reservations") or {}
    sources = [str(entry["source"]) for entry in service.get("devices") or ()]
    named = [(f"devices[{i}]", source) for i, source in enumerate(sources) if not source.startswith("/")]
    requests = [("gpus", request) for request in service.get("gpus") or ()]
    for index, request in enumerate(reservations.get("devices") or ()):
        requests.append((f"deploy.resources.reservations.devices[{index}]", request))
    if not named and not requests:
        return no_edits()
    registry = Registry()
    for key, request in requests:
        with _said_of(key):
            named += [(key, name) for name in requested(request, registry)]
    for key, name in named:
        with _said_of(key):
            registry.check(name)
    return registry.edits(name for _, name in named)


@contextlib.contextmanager
def _said_of(key: str) -> Iterator[None]:
    """Put the key that an error is about before it."""
    try:
        yield
    except ContainerError as error:
        raise ContainerError(f"{key}: {error.message}", hint=error.hint) from None


def requested(request: Mapping[str, Any], registry: Registry) -> list[str]:
    """The devices that one request means: those it names, some of the driver's GPUs, or all of them.

    The driver ``cdi`` takes full names; any other one is the vendor whose GPUs are wanted.
    """
    driver, ids = str(request.get("driver") or ""), [str(one) for one in request.get("device_ids") or ()]
    capabilities = [str(one) for one in request.get("capabilities") or ("gpu",)]
    if driver == "cdi":
        if not ids:
            raise ContainerError(
                "devices of the driver cdi need names", hint='write "device_ids: [vendor.com/class=name]"'
            )
        return ids
    if not {"gpu", "nvidia"} & set(capabilities):
        raise ContainerError(
            f"no driver gives devices with capabilities {', '.join(capabilities)}",
            hint='write "driver: cdi" and "device_ids: [vendor.com/class=name]"',
        )
    kind = _kind_of_gpus(driver, registry)
    if ids:
        return [one if "=" in one else f"{kind}={one}" for one in ids]
    count = int(request.get("count") or -1)
    names = [name for name in registry.names(kind) if name != "all"]
    if count < 0:
        return (
            [f"{kind}=all"] if "all" in registry.names(kind) or not names else [f"{kind}={n}" for n in names]
        )
    if names and count > len(names):
        raise ContainerError(f"{count} of {kind} are wanted, and {len(names)} are there")
    return [f"{kind}={name}" for name in (names or map(str, range(count)))][:count]


def _kind_of_gpus(driver: str, registry: Registry) -> str:
    """``vendor/gpu``: the driver's, or that of the only vendor of whom there are GPUs, or NVIDIA's."""
    if driver:
        return f"{driver}/gpu" if "." in driver else f"{driver}.com/gpu"
    there = [kind for kind in registry.kinds() if kind.endswith("/gpu")]
    return there[0] if len(there) == 1 else _NVIDIA


def _check_cpus(wanted: str) -> None:
    """Refuse CPUs that this host does not have, in words instead of the kernel's ERANGE."""
    if not wanted:
        return
    with open("/sys/devices/system/cpu/online", encoding="ascii") as file:
        online = file.read().strip()
    if missing := _cpus(wanted) - _cpus(online):
        raise ContainerError(
            f"cpuset: there is no CPU {min(missing)}", hint=f"choose of those that there are: {online}"
        )


def _cpus(text: str) -> set[int]:
    """``0-2,5`` as numbers; only so many as a machine may have."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), min(int(last or first), 65_536) + 1))
    return found


def cgroup_rules(text: str) -> list[dict[str, Any]]:
    """``c 1:3 mr`` as OCI rules; ``a`` is one for each kind, so that its numbers count."""
    kind, numbers, access = text.split(" ")
    major, minor = (None if number == "*" else int(number) for number in numbers.split(":"))
    kinds = ("c", "b") if kind == "a" else (kind,)
    return [{"allow": True, "type": one, "major": major, "minor": minor, "access": access} for one in kinds]


def _blocks(service: Mapping[str, Any]) -> dict[str, Any]:
    config = service.get("blkio_config") or {}
    found: dict[str, Any] = {}
    if config.get("weight"):
        found["weight"] = int(config["weight"])
    weights = [
        {**_block_device(entry, "weight_device"), "weight": int(entry["weight"])}
        for entry in config.get("weight_device") or ()
        if entry.get("weight")
    ]
    if weights:
        found["weightDevice"] = weights
    for key, name in _THROTTLES.items():
        rates = [
            {**_block_device(entry, key), "rate": int(entry["rate"])}
            for entry in config.get(key) or ()
            if int(entry.get("rate") or 0)
        ]
        if rates:
            found[name] = rates
    return found


def _block_device(entry: Mapping[str, Any], key: str) -> dict[str, int]:
    """The numbers of the whole device: the kernel limits no partition."""
    path = str(entry["path"])
    try:
        found = os.stat(path)
    except OSError as error:
        raise ContainerError(
            f"blkio_config.{key}: {path}: {error.strerror}", hint="choose one of those that lsblk shows"
        ) from None
    if not stat.S_ISBLK(found.st_mode):
        raise ContainerError(
            f"blkio_config.{key}: {path}: not a block device", hint="choose one of those that lsblk shows"
        )
    number = f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}"
    place = os.path.realpath(f"/sys/dev/block/{number}")
    if os.path.exists(f"{place}/partition"):
        with open(f"{os.path.dirname(place)}/dev", encoding="ascii") as file:
            number = file.read().strip()
    major, _, minor = number.partition(":")
    return {"major": int(major), "minor": int(minor)}
