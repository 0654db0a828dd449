"""Keys of the specification that nothing acts on yet, with the reason: each one in a file is warned of once.

The promise behind it: nothing is silently ignored. Whoever makes a key work removes its line here; a test
holds that every pattern names a key of the schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from compose.model.passes import Pass
from compose.model.tree import Context, Map, dotted
from compose.model.values import dropped_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from compose.model.tree import Position

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
_ANY_LOG = {"max-size", "max-file"}
_SENT_LOG = {*_ANY_LOG, "tag", "labels", "labels-regex", "env", "env-regex"}
LOG_OPTIONS: dict[str, set[str]] = {
    "": _ANY_LOG,
    "json-file": _ANY_LOG,
    "local": _ANY_LOG,
    "none": set(),
    "syslog": {*_ANY_LOG, "tag", "syslog-address", "syslog-facility", "syslog-format"},
    "journald": _SENT_LOG,
    "gelf": {*_SENT_LOG, "gelf-address", "gelf-compression-type", "gelf-compression-level"},
    "fluentd": {*_SENT_LOG, "fluentd-address", "fluentd-sub-second-precision", "fluentd-tag"},
}
"""The options that each log driver acts on."""
_HELD_ANYWAY = {
    "mode": ("non-blocking",),
    "fluentd-async": ("true", "True", "1"),
    "fluentd-async-connect": ("true", "True", "1"),
}
"""Options that ask for what is done without them, as long as they have one of these values."""
OWNER = {"uid", "gid", "mode"}
MOUNT_TYPES = ("bind", "volume", "tmpfs", "image")


def _words(names: Iterable[str]) -> str:
    *most, last = filter(None, names)
    return f"{', '.join(most)} and {last}"


def _log_driver(value: Any) -> str | None:
    return None if value in LOG_OPTIONS else f"there are {_words(LOG_OPTIONS)}; json-file is used"


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
    "services.*.logging.driver": Partly(_log_driver, _words(LOG_OPTIONS)),
    "services.*.pull_policy": Partly(_pull_policy, "missing, never and build"),
    "services.*.volumes.*.type": Partly(_mount_type, "bind, volume, tmpfs and image"),
    "volumes.*.driver": Partly(_volume_driver, "local"),
}


def warn_of_unsupported(tree: Map, warn: Callable[[Position, str], None]) -> None:
    """Call `warn` for every key of the tree that nothing acts on."""

    def never(reason: str) -> Callable[[Any, Context], Any]:
        def function(value: Any, context: Context) -> Any:
            if value not in (None, False, "", {}, []):
                warn(context.key_at, f"{dotted(context.path)}: not supported yet, ignored: {reason}")
            return value

        return function

    def sometimes(judge: Callable[[Any], str | None]) -> Callable[[Any, Context], Any]:
        def function(value: Any, context: Context) -> Any:
            reason = judge(value)
            if reason is not None:
                text = f"{dotted(context.path)}: `{value}` is not supported yet, ignored: {reason}"
                warn(context.key_at, text)
            return value

        return function

    def words_left_out(value: Any, context: Context) -> Any:
        try:
            rest = dropped_command(value) if isinstance(value, str) else ""
        except ValueError:
            rest = ""
        if rest:
            text = f"{dotted(context.path)}: `{rest}` is left out: no shell runs this, as in docker compose"
            warn(context.key_at, f'{text}; write ["sh", "-c", "..."]')
        return value

    def endpoint_option(value: Any, context: Context) -> Any:
        if context.path[-1] not in ENDPOINT_OPTIONS:
            there = f"there are {_words(sorted(ENDPOINT_OPTIONS))}"
            warn(context.key_at, f"{dotted(context.path)}: not supported yet, ignored: {there}")
        return value

    def log_option(value: Any, context: Context) -> Any:
        section = ((tree.get("services") or {}).get(str(context.path[1])) or {}).get("logging") or {}
        known = LOG_OPTIONS.get(str(section.get("driver") or ""), _ANY_LOG)
        option = str(context.path[-1])
        if option not in known and str(value) not in _HELD_ANYWAY.get(option, ()):
            there = f"there are {_words(sorted(known))}" if known else "nothing is logged"
            warn(context.key_at, f"{dotted(context.path)}: not supported yet, ignored: {there}")
        return value

    def storage_option(value: Any, context: Context) -> Any:
        if context.path[-1] != "size":
            warn(context.key_at, f"{dotted(context.path)}: not supported yet, ignored: there is size")
        return value

    def owner_of_file(value: Any, context: Context) -> Any:
        """A config or secret that is a file of the host shows that file, with its owner and mode."""
        if isinstance(value, dict) and (OWNER & value.keys()):
            definition = (tree.get(str(context.path[2])) or {}).get(value.get("source"))
            if isinstance(definition, dict) and definition.get("file"):
                keys = " and ".join(sorted(OWNER & value.keys()))
                why = f"{keys} ignored: the file's own are seen, as in docker compose"
                warn(context.at, f"{dotted(context.path)}: {why}")
        return value

    def mount_options(value: Any, context: Context) -> Any:
        """Options of another type of mount than the one that it is."""
        if isinstance(value, Map):
            for key in MOUNT_TYPES:
                if value.get(key) and key != value.get("type"):
                    why = f"ignored: it is a mount of type {value.get('type')}"
                    warn(value.where(key)[0], f"{dotted((*context.path, key))}: {why}")
            if value.get("type") == "tmpfs" and value.get("source"):
                warn(
                    value.where("source")[0],
                    f"{dotted((*context.path, 'source'))}: ignored: a tmpfs has none",
                )
        return value

    table = {pattern: never(reason) for pattern, reason in NOT_YET.items()}
    table.update({pattern: sometimes(partly.judge) for pattern, partly in PARTLY.items()})
    table["services.*.command"] = table["services.*.entrypoint"] = words_left_out
    table["services.*.volumes.*"] = mount_options
    table["services.*.storage_opt.*"] = storage_option
    table["services.*.logging.options.*"] = log_option
    table["services.*.networks.*.driver_opts.*"] = endpoint_option
    table["services.*.configs.*"] = table["services.*.secrets.*"] = owner_of_file
    Pass(table).apply(tree)
