"""Keys of the specification that nothing acts on yet, with the reason, and those of which some values are.

The promise behind it: nothing is silently ignored; `unsupported` warns of each one in a file. Whoever makes a
key work removes its line here; a test holds that every pattern names a key of the schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SWARM = "it is about clusters"
_WINDOWS = "it is about Windows"
_BUILDER = "the builder does not know it"
_OPTIONS = "drivers of devices take no options"
_IPAM = "addresses are given out by pycompose itself"

NOT_YET: dict[str, str] = {
    "networks.*.attachable": _SWARM,
    "networks.*.driver_opts": "networks have no options",
    "networks.*.enable_ipv4": "networks are IPv4",
    "networks.*.ipam.driver": _IPAM,
    "networks.*.ipam.options": _IPAM,
    "configs.*.labels": _SWARM,
    "configs.*.template_driver": _SWARM,
    "secrets.*.driver": _SWARM,
    "secrets.*.driver_opts": _SWARM,
    "secrets.*.labels": _SWARM,
    "secrets.*.template_driver": _SWARM,
    "services.*.build.additional_contexts": _BUILDER,
    "services.*.build.cache_from": _BUILDER,
    "services.*.build.cache_to": _BUILDER,
    "services.*.build.entitlements": _BUILDER,
    "services.*.build.extra_hosts": _BUILDER,
    "services.*.build.isolation": _WINDOWS,
    "services.*.build.network": _BUILDER,
    "services.*.build.no_cache_filter": _BUILDER,
    "services.*.build.platforms": "images are built for this machine",
    "services.*.build.privileged": _BUILDER,
    "services.*.build.provenance": _BUILDER,
    "services.*.build.sbom": _BUILDER,
    "services.*.build.secrets": _BUILDER,
    "services.*.build.shm_size": _BUILDER,
    "services.*.build.ssh": _BUILDER,
    "services.*.build.ulimits": _BUILDER,
    "services.*.cpu_count": _WINDOWS,
    "services.*.cpu_percent": _WINDOWS,
    "services.*.credential_spec": _WINDOWS,
    "services.*.deploy.endpoint_mode": _SWARM,
    "services.*.deploy.labels": _SWARM,
    "services.*.deploy.mode": _SWARM,
    "services.*.deploy.placement": _SWARM,
    "services.*.deploy.resources.reservations.cpus": _SWARM,
    "services.*.deploy.resources.reservations.devices.*.options": _OPTIONS,
    "services.*.deploy.resources.reservations.generic_resources": _SWARM,
    "services.*.deploy.rollback_config": _SWARM,
    "services.*.deploy.update_config": _SWARM,
    "services.*.develop": "files are not watched",
    "services.*.gpus.*.options": _OPTIONS,
    "services.*.isolation": _WINDOWS,
    "services.*.pull_refresh_after": "use pull_policy: every_12h",
    "services.*.use_api_socket": "there is no Docker API",
}

ENDPOINT_OPTIONS = ("com.docker.network.endpoint.sysctls", "com.docker.network.endpoint.ifname")
ANY_LOG = {"max-size", "max-file"}
"""The options of a log driver that there is not: json-file is used in its place."""
_SENT_LOG = {*ANY_LOG, "tag", "labels", "labels-regex", "env", "env-regex"}
LOG_OPTIONS: dict[str, set[str]] = {
    "": ANY_LOG,
    "json-file": ANY_LOG,
    "local": ANY_LOG,
    "none": set(),
    "syslog": {*ANY_LOG, "tag", "syslog-address", "syslog-facility", "syslog-format"},
    "journald": _SENT_LOG,
    "gelf": {*_SENT_LOG, "gelf-address", "gelf-compression-type", "gelf-compression-level"},
    "fluentd": {*_SENT_LOG, "fluentd-address", "fluentd-sub-second-precision", "fluentd-tag"},
}
"""The options that each log driver acts on."""
MOUNT_TYPES = ("bind", "volume", "tmpfs", "image")


def words(names: Iterable[str]) -> str:
    """Two or more names as a list in words."""
    *most, last = filter(None, names)
    return f"{', '.join(most)} and {last}"


def _log_driver(value: Any) -> str | None:
    return None if value in LOG_OPTIONS else f"there are {words(LOG_OPTIONS)}; json-file is used"


def _mount_type(value: Any) -> str | None:
    return None if value in MOUNT_TYPES else "there are bind, volume, tmpfs and image mounts"


def _volume_driver(value: Any) -> str | None:
    return None if value in ("", "local") else "volumes are directories"


def _network_driver(value: Any) -> str | None:
    return None if value in ("", "bridge", "default") else "networks are bridges"


def _pull_policy(value: Any) -> str | None:
    return None if value in ("never", "missing", "if_not_present", "build") else "`missing` is used"


class Partly(NamedTuple):
    """A key of which some values are acted on."""

    judge: Callable[[Any], str | None]
    """Why nothing acts on a value; None if something does."""
    words: str
    """Which values are acted on."""


PARTLY: dict[str, Partly] = {
    "networks.*.driver": Partly(_network_driver, "bridge"),
    "services.*.logging.driver": Partly(_log_driver, words(LOG_OPTIONS)),
    "services.*.pull_policy": Partly(_pull_policy, "missing, never and build"),
    "services.*.volumes.*.type": Partly(_mount_type, "bind, volume, tmpfs and image"),
    "volumes.*.driver": Partly(_volume_driver, "local"),
}
