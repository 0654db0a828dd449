"""The order of keys in what `config` prints: the one of docker compose.

Keys that the specification names come in the order of docker compose's own types, extensions after them.
Names that the user chose come in natural order: ``n2`` before ``n10``, letters after all other characters; in
JSON by their bytes.
"""

from __future__ import annotations

from functools import cache, cmp_to_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_HOOK = "command image user privileged working_dir environment per_replica"
_DEVICE = "capabilities driver count device_ids options"
_FILE = "source target uid gid mode"
_UPDATE = "parallelism delay failure_action monitor max_failure_ratio order"
_LIMITS = "soft hard"
_RATE = "path rate"
_OBJECT = "name file environment content external labels driver driver_opts template_driver"
_RESOURCE = "cpus memory pids devices generic_resources"

_SERVICE = """
    profiles annotations attach build develop blkio_config cap_add cap_drop cgroup_parent cgroup
    cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpus cpuset cpu_shares
    command configs container_name credential_spec depends_on deploy device_cgroup_rules devices dns
    dns_opt dns_search domainname entrypoint provider environment env_file expose extends external_links
    extra_hosts group_add gpus hostname healthcheck image init ipc isolation labels label_file links
    logging mem_limit mem_reservation memswap_limit mem_swappiness mac_address models network_mode
    networks oom_kill_disable oom_score_adj pid pids_limit platform ports privileged pull_policy
    pull_refresh_after read_only restart runtime scale secrets security_opt shm_size stdin_open
    stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode
    uts volumes volumes_from working_dir pre_start post_start pre_stop
"""
_BUILD = """
    context dockerfile dockerfile_inline entitlements args provenance sbom ssh labels cache_from
    cache_to no_cache no_cache_filter additional_contexts pull extra_hosts isolation network target
    secrets shm_size tags ulimits platforms privileged
"""
_BELOW_SERVICE = {
    "build": _BUILD,
    "build.secrets.*": _FILE,
    "build.ulimits.*": _LIMITS,
    "blkio_config": "weight weight_device device_read_bps device_read_iops device_write_bps "
    "device_write_iops",
    "blkio_config.weight_device.*": "path weight",
    "blkio_config.device_read_bps.*": _RATE,
    "blkio_config.device_read_iops.*": _RATE,
    "blkio_config.device_write_bps.*": _RATE,
    "blkio_config.device_write_iops.*": _RATE,
    "configs.*": _FILE,
    "credential_spec": "config file registry",
    "depends_on.*": "condition restart required",
    "deploy": "mode replicas labels update_config rollback_config resources restart_policy placement "
    "endpoint_mode",
    "deploy.update_config": _UPDATE,
    "deploy.rollback_config": _UPDATE,
    "deploy.resources": "limits reservations",
    "deploy.resources.limits": _RESOURCE,
    "deploy.resources.reservations": _RESOURCE,
    "deploy.resources.reservations.devices.*": _DEVICE,
    "deploy.resources.reservations.generic_resources.*": "discrete_resource_spec",
    "deploy.resources.reservations.generic_resources.*.discrete_resource_spec": "kind value",
    "deploy.restart_policy": "condition delay max_attempts window",
    "deploy.placement": "constraints preferences max_replicas_per_node",
    "deploy.placement.preferences.*": "spread",
    "develop": "watch",
    "develop.watch.*": "path action target exec include ignore initial_sync",
    "develop.watch.*.exec": _HOOK,
    "devices.*": "source target permissions",
    "env_file.*": "path required format",
    "gpus.*": _DEVICE,
    "healthcheck": "test timeout interval retries start_period start_interval disable",
    "logging": "driver options",
    "models.*": "endpoint_var model_var",
    "networks.*": "aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips "
    "mac_address priority",
    "ports.*": "name mode host_ip target published protocol app_protocol",
    "post_start.*": _HOOK,
    "pre_start.*": _HOOK,
    "pre_stop.*": _HOOK,
    "provider": "type options",
    "secrets.*": _FILE,
    "ulimits.*": _LIMITS,
    "volumes.*": "type source target read_only consistency bind volume tmpfs image",
    "volumes.*.bind": "selinux propagation create_host_path recursive",
    "volumes.*.volume": "labels nocopy subpath",
    "volumes.*.tmpfs": "size mode",
    "volumes.*.image": "subpath",
}
_FIELDS = {
    "": "name services networks volumes secrets configs models",
    "services.*": _SERVICE,
    **{f"services.*.{path}": fields for path, fields in _BELOW_SERVICE.items()},
    "networks.*": "name driver driver_opts ipam external internal attachable labels enable_ipv4 enable_ipv6",
    "networks.*.ipam": "driver config options",
    "networks.*.ipam.config.*": "subnet gateway ip_range aux_addresses",
    "volumes.*": "name driver driver_opts external labels",
    "secrets.*": _OBJECT,
    "configs.*": _OBJECT,
    "models.*": "name model context_size runtime_flags",
}


class _Level:
    """What is known of the mappings at one path: the rank of their keys, and what is below them."""

    __slots__ = ("below", "ranks")

    def __init__(self) -> None:
        self.ranks: dict[str, int] = {}
        self.below: dict[str, _Level] = {}


@cache
def _levels() -> _Level:
    root = _Level()
    for path, fields in _FIELDS.items():
        level = root
        for part in path.split(".") if path else ():
            level = level.below.setdefault(part, _Level())
        level.ranks = {field: rank for rank, field in enumerate(fields.split())}
    return root


_NOTHING_KNOWN = _Level()


def ordered(document: dict[str, Any], kind: str = "yaml") -> dict[str, Any]:
    """A project's document with its keys in the order of ``yaml`` or ``json``."""
    found: dict[str, Any] = _ordered(document, _levels(), _by_name(kind))
    return found


def by_name(value: Any, kind: str) -> Any:
    """A value of which nothing is known, with its keys in the order of ``yaml`` or ``json``."""
    return _ordered(value, _NOTHING_KNOWN, _by_name(kind))


def _by_name(kind: str) -> Callable[[Iterable[str]], list[str]]:
    return sorted if kind == "json" else natural


def _ordered(value: Any, level: _Level, by_name: Callable[[Iterable[str]], list[str]]) -> Any:
    below = level.below
    starred = below.get("*", _NOTHING_KNOWN)
    if isinstance(value, dict):
        ranks = level.ranks
        keys = sorted((key for key in value if key in ranks), key=ranks.__getitem__)
        keys += by_name(key for key in value if key not in ranks)
        return {key: _ordered(value[key], below.get(key, starred), by_name) for key in keys}
    if isinstance(value, list):
        return [_ordered(item, starred, by_name) for item in value]
    return value


def natural(names: Iterable[str]) -> list[str]:
    """Names in natural order, as go-yaml sorts keys."""
    names = list(names)
    if len(names) < 2 or "".join(names).isalpha():
        return sorted(names)
    return sorted(names, key=cmp_to_key(_compared))


def _compared(one: str, other: str) -> int:
    """Negative where `one` comes first."""
    digits = False
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left == right:
            digits = left.isdecimal()
        elif left.isalpha() and right.isalpha():
            return -1 if left < right else 1
        elif left.isalpha() or right.isalpha():
            return -1 if left.isalpha() is digits else 1
        else:
            keys = _number_at(one, other, index), _number_at(other, one, index)
            return -1 if (*keys[0], left) < (*keys[1], right) else 1
    return len(one) - len(other)


def _number_at(text: str, other: str, start: int) -> tuple[int, int]:
    """The number of which digits begin at `start`, and where it ends; 0 and its end where there is none."""
    end = start
    while end < len(text) and text[end].isdecimal():
        end += 1
    digits = text[start:end]
    if "0" in (text[start], other[start]):  # then what stands before decides how much a zero weighs
        before = text[:start]
        number = before[len(before.rstrip("0123456789")) :]
        digits = f"1{digits}" if number.strip("0") else digits
    return int(digits or "0"), end
