"""Limits of a container's control group, as OCI ``linux.resources``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ContainerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_PERIOD = 100_000  # microseconds, Docker's
_REALTIME_PERIOD = 1_000_000  # microseconds, the kernel's
_LEAST_CPUS = 0.01  # Docker's, since the kernel gives no less than a millisecond in each period
_LEAST_MEMORY = 6 << 20  # Docker's
_CPU = {
    "cpu_shares": "shares",
    "cpu_rt_period": "realtimePeriod",
    "cpu_rt_runtime": "realtimeRuntime",
}


def resources(service: Mapping[str, Any]) -> dict[str, Any]:
    """Memory, CPU and process limits; ``deploy.resources`` where the service itself says nothing.

    Raises `ContainerError` for limits that contradict each other.
    """
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


def risks(service: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Limits that Docker's engine warns of: the key, and what there is to say."""
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    limit = service.get("mem_limit") or limits.get("memory")
    if not service.get("oom_kill_disable") or int(limit or 0):
        return []
    text = "oom_kill_disable: without a memory limit the whole machine may run out of memory; add 'mem_limit'"
    return [("oom_kill_disable", text)]


def _memory(
    service: Mapping[str, Any], limits: Mapping[str, Any], reservations: Mapping[str, Any]
) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    limit = int(service.get("mem_limit") or limits.get("memory") or 0)
    reservation = int(service.get("mem_reservation") or reservations.get("memory") or 0)
    swap = int(service.get("memswap_limit") or 0)
    _compare(service, limit, reservation, swap)
    if limit:
        memory["limit"] = limit
        memory["swap"] = swap or 2 * limit  # Docker's default: as much swap as memory
    if reservation:
        memory["reservation"] = reservation
    if service.get("mem_swappiness") not in (None, "-1"):
        memory["swappiness"] = int(service["mem_swappiness"])
    if service.get("oom_kill_disable"):
        memory["disableOOMKiller"] = True
    return memory


def _compare(service: Mapping[str, Any], limit: int, reservation: int, swap: int) -> None:
    """What Docker refuses, in its terms: swap is memory and swap together."""
    deploy = "deploy.resources"
    limit_key = "mem_limit" if service.get("mem_limit") else f"{deploy}.limits.memory"
    reserved_key = "mem_reservation" if service.get("mem_reservation") else f"{deploy}.reservations.memory"
    if limit and limit < _LEAST_MEMORY:
        problem = f"{limit} bytes are too few for any program"
        raise ContainerError(f"{limit_key}: {problem}", hint="write 6m or more")
    if swap > 0 and not limit:
        raise ContainerError(
            "memswap_limit: memory and swap together are limited only where memory is",
            hint="add 'mem_limit', which may be the same amount",
        )
    if 0 < swap < limit:
        raise ContainerError(
            f"memswap_limit: {swap} is memory and swap together, and less than the memory limit {limit}",
            hint=f"write {limit} for no swap, or -1 for no limit of swap",
        )
    if limit and reservation > limit:
        raise ContainerError(
            f"{reserved_key}: {reservation} is more than the memory limit {limit}",
            hint=f"lower it, or raise '{limit_key}'",
        )


def _cpu(service: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    cpus = float(service.get("cpus") or limits.get("cpus") or 0)
    quota, period = int(service.get("cpu_quota") or 0), int(service.get("cpu_period") or 0)
    if 0 < cpus < _LEAST_CPUS:
        key = "cpus" if service.get("cpus") else "deploy.resources.limits.cpus"
        raise ContainerError(f"{key}: {cpus:g} is less than {_LEAST_CPUS}", hint="write 0.01 or more")
    if cpus and (quota or period):
        raise ContainerError("cpus: says the same as cpu_quota and cpu_period", hint="keep one of them")
    if cpus:
        quota, period = int(cpus * _PERIOD), _PERIOD
    if period:
        cpu["period"] = period
    if quota:
        cpu.update(quota=quota, period=period or _PERIOD)
    for key, name in _CPU.items():
        if service.get(key):
            cpu[name] = int(service[key])
    realtime, its_period = cpu.get("realtimeRuntime", 0), cpu.get("realtimePeriod", _REALTIME_PERIOD)
    if realtime > its_period:
        raise ContainerError(
            f"cpu_rt_runtime: {realtime} microseconds are more than the period, {its_period}",
            hint="lower it, or raise 'cpu_rt_period'",
        )
    if service.get("cpuset"):
        cpu["cpus"] = str(service["cpuset"])
    return cpu
