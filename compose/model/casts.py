"""The types that strings get after interpolation: ``privileged: "${P}"`` is a boolean, ``cpus: "$N"`` a
number.

Only the keys of the table are cast here, as docker compose does; others accept text and are read where the
canonical form is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.model.passes import Pass
from compose.model.values import boolean, float32, integer, nanoseconds, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.model.tree import Context


def _cast(convert: Callable[[str], Any]) -> Callable[[Any, Context], Any]:
    def function(value: Any, context: Context) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return convert(value)
        except ValueError as problem:
            raise context.refusal(problem) from None

    return function


def _float32(text: str) -> float | int:
    return float32(number(text))


def _microseconds(text: str) -> int:
    """A number, or a duration (Compose specification, 05-services, cpu_rt_period)."""
    if text.strip("+-").isdigit() or not text[:1].isdigit():
        return integer(text)
    return nanoseconds(text) // 1000


_integer, _number, _boolean = _cast(integer), _cast(number), _cast(boolean)

CASTS = Pass(
    {
        "configs.*.external": _boolean,
        "networks.*.attachable": _boolean,
        "networks.*.enable_ipv4": _boolean,
        "networks.*.enable_ipv6": _boolean,
        "networks.*.external": _boolean,
        "networks.*.internal": _boolean,
        "secrets.*.external": _boolean,
        "services.*.cpu_count": _integer,
        "services.*.cpu_percent": _number,
        "services.*.cpu_period": _integer,
        "services.*.cpu_quota": _integer,
        "services.*.cpu_rt_period": _cast(_microseconds),
        "services.*.cpu_rt_runtime": _cast(_microseconds),
        "services.*.cpu_shares": _integer,
        "services.*.cpus": _cast(_float32),
        "services.*.depends_on.*.restart": _boolean,
        "services.*.deploy.placement.max_replicas_per_node": _integer,
        "services.*.deploy.replicas": _integer,
        "services.*.deploy.restart_policy.max_attempts": _integer,
        "services.*.deploy.rollback_config.max_failure_ratio": _number,
        "services.*.deploy.rollback_config.parallelism": _integer,
        "services.*.deploy.update_config.max_failure_ratio": _number,
        "services.*.deploy.update_config.parallelism": _integer,
        "services.*.healthcheck.disable": _boolean,
        "services.*.healthcheck.retries": _integer,
        "services.*.init": _boolean,
        "services.*.oom_kill_disable": _boolean,
        "services.*.oom_score_adj": _integer,
        "services.*.pids_limit": _integer,
        "services.*.ports.*.target": _integer,
        "services.*.privileged": _boolean,
        "services.*.read_only": _boolean,
        "services.*.scale": _integer,
        "services.*.stdin_open": _boolean,
        "services.*.tty": _boolean,
        "services.*.ulimits.*": _integer,
        "services.*.ulimits.*.hard": _integer,
        "services.*.ulimits.*.soft": _integer,
        "services.*.volumes.*.read_only": _boolean,
        "services.*.volumes.*.volume.nocopy": _boolean,
        "volumes.*.external": _boolean,
    }
)
