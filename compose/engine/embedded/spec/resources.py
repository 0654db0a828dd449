"""Limits of a container's control group, as OCI ``linux.resources``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_PERIOD = 100_000  # microseconds, Docker's


def resources(service: Mapping[str, Any]) -> dict[str, Any]:
    """Memory, CPU and process limits; ``deploy.resources`` where the service itself says nothing."""
    deploy = (service.get("deploy") or {}).get("resources") or {}
    limits = deploy.get("limits") or {}
    reservations = deploy.get("reservations") or {}
    found: dict[str, Any] = {}
    if memory := _memory(service, limits, reservations):
        found["memory"] = memory
    if cpu := _cpu(service, limits):
        found["cpu"] = cpu
    pids = int(service.get("pids_limit") or limits.get("pids") or 0)
    if pids > 0:  # -1 is no limit
        found["pids"] = {"limit": pids}
    return found


def _memory(
    service: Mapping[str, Any], limits: Mapping[str, Any], reservations: Mapping[str, Any]
) -> dict[str, int]:
    memory: dict[str, int] = {}
    limit = int(service.get("mem_limit") or limits.get("memory") or 0)
    if limit:
        memory["limit"] = limit
    if reservation := int(service.get("mem_reservation") or reservations.get("memory") or 0):
        memory["reservation"] = reservation
    if swap := int(service.get("memswap_limit") or 0):
        memory["swap"] = swap
    elif limit:
        memory["swap"] = 2 * limit  # Docker's default: as much swap as memory
    return memory


def _cpu(service: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    cpus = float(service.get("cpus") or limits.get("cpus") or 0)
    if cpus:
        cpu.update(quota=int(cpus * _PERIOD), period=_PERIOD)
    if service.get("cpu_quota"):
        cpu["quota"] = int(service["cpu_quota"])
        cpu["period"] = int(service.get("cpu_period") or _PERIOD)
    if service.get("cpu_shares"):
        cpu["shares"] = int(service["cpu_shares"])
    if service.get("cpuset"):
        cpu["cpus"] = str(service["cpuset"])
    return cpu
