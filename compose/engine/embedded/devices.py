"""Devices of the host that a service asks for, looked up: nodes, rules of access, limits of block devices."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ContainerError
from compose.runtime.oci import device

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_THROTTLES = {
    "device_read_bps": "throttleReadBpsDevice",
    "device_write_bps": "throttleWriteBpsDevice",
    "device_read_iops": "throttleReadIOPSDevice",
    "device_write_iops": "throttleWriteIOPSDevice",
}
_EVERYTHING = "rwm"


class HostDevices(NamedTuple):
    """What a container gets of the host's devices, as OCI has it."""

    nodes: list[dict[str, Any]]
    """For ``linux.devices``."""
    rules: list[dict[str, Any]]
    """For ``linux.resources.devices``, after the standard ones."""
    blocks: dict[str, Any]
    """``linux.resources.blockIO``."""


def find(service: Mapping[str, Any]) -> HostDevices:
    """Look up everything that `service` names. Raises `ContainerError` for what this host does not have."""
    found = HostDevices([], [], _blocks(service))
    privileged = bool(service.get("privileged"))
    for index, entry in enumerate(service.get("devices") or ()):
        source, target = str(entry["source"]), str(entry["target"])
        if privileged and source == target:  # all of the host's are there already
            continue
        access = _EVERYTHING if privileged else str(entry.get("permissions") or _EVERYTHING)
        try:
            nodes, rules = device(source, target, access)
        except OSError as error:
            raise ContainerError(
                f"devices[{index}]: {source}: {error.strerror or error}",
                hint="plug it in, load its driver, or remove it from 'devices'",
            ) from None
        found.nodes.extend(nodes)
        found.rules.extend(rules)
    for rule in service.get("device_cgroup_rules") or ():
        found.rules.extend(cgroup_rules(str(rule)))
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
