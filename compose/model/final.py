"""The canonical form: every value of the type and in the notation that `docker compose config` prints.

Environments and labels are mappings of strings, commands lists, sizes decimal numbers in strings, durations
in Go's notation; what equals the default of its type is left out where docker compose leaves it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.model import values
from compose.model.loader import CONTENT
from compose.model.passes import DROP, Pass
from compose.model.project import RESOURCES
from compose.model.short import string_to_list
from compose.model.tree import Context, Map, Seq

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[[Any, Context], Any]

NOT_NEGATIVE = "write 0 or more"


def _checked(convert: Callable[[Any], Any], *, drop: tuple[Any, ...] = ()) -> Function:
    """A converter whose ValueError becomes an error with its place; results in `drop` are left out."""

    def function(value: Any, context: Context) -> Any:
        if value is None:
            return DROP
        try:
            result = convert(value)
        except ValueError as problem:
            raise context.refusal(problem) from None
        return DROP if any(result == one and type(result) is type(one) for one in drop) else result

    return function


def _text(value: Any) -> str:
    return values.go_text(value)


def _boolean(value: Any) -> bool:
    return values.boolean(value) if isinstance(value, str) else bool(value)


def _integer(value: Any) -> int:
    if isinstance(value, str):
        return values.integer(value)
    return values.whole(value)


def _count(value: Any) -> int:
    number = _integer(value)
    if number < 0:
        raise values.WrongValue(f"{number} is less than 0", NOT_NEGATIVE)
    return number


def _weight(value: Any) -> int:
    if isinstance(value, str):
        raise values.WrongValue(f"`{value}` is a string, but a weight is a number", "write it without quotes")
    if value > 1000:
        raise values.WrongValue(
            f"{value} is more than 1000, the greatest weight", "write a number from 10 to 1000"
        )
    return _count(value)


def _number(value: Any) -> int | float:
    number = values.number(value) if isinstance(value, str) else value
    if number != number or number in (float("inf"), float("-inf")):
        raise values.WrongValue(
            f"`{values.go_text(number)}` is not a number that can be used here", "write a number, such as 0.5"
        )
    return values.float32(number)


def _size(value: Any) -> str:
    return str(values.byte_size(value))


def _duration(value: Any) -> str:
    return values.duration_text(values.nanoseconds(str(value)))


def _mode(value: Any) -> str:
    """A file's mode: ``0440`` is octal in YAML; a string is read as octal."""
    try:
        if isinstance(value, float):
            raise ValueError
        number = int(value, 8) if isinstance(value, str) else int(value)
    except ValueError:
        raise values.WrongValue(f"`{value}` is not a mode", "write an octal number, such as 0440") from None
    return f"0{number:o}"


def _tmpfs_mode(value: Any) -> int:
    if isinstance(value, str):
        raise values.WrongValue(
            f"`{value}` is a string, but a mode is a number", "write it without quotes, such as 0700"
        )
    return _count(value)


def _device_count(value: Any) -> int:
    if isinstance(value, str) and value.lower() == "all":
        return -1
    try:
        return _integer(value)
    except ValueError:
        raise values.WrongValue(f"`{value}` is not a count", "write a number, or all") from None


text = _checked(_text, drop=("",))
flag = _checked(_boolean, drop=(False,))
pointer_flag = _checked(_boolean)
integer = _checked(_integer, drop=(0,))
pointer_integer = _checked(_integer)
pointer_count = _checked(_count)
number = _checked(_number, drop=(0,))
size = _checked(_size, drop=("0",))
pointer_duration = _checked(_duration)
duration = _checked(_duration, drop=("0s",))
mode = _checked(_mode)
device_count = _checked(_device_count, drop=(0,))


def command(value: Any, context: Context) -> Any:
    """A string is split into words, as a shell would; no shell runs it."""
    if isinstance(value, str):
        try:
            return Seq(context.at, values.split_command(value))
        except ValueError as problem:
            raise context.refusal(problem) from None
    return value


def healthcheck_test(value: Any, context: Context) -> Any:
    """A string is a shell command: ``CMD-SHELL``."""
    if isinstance(value, str):
        return Seq(context.at, ["CMD-SHELL", value])
    return value if value else DROP


def non_empty(value: Any, context: Context) -> Any:
    """Leave out what holds nothing."""
    return value if value or value == 0 and value is not False else DROP


def texts_or_one(value: Any, context: Context) -> Any:
    """A string stands for a list of one."""
    return string_to_list(value, context) or DROP


def non_null(value: Any, context: Context) -> Any:
    """Leave out what is null."""
    return DROP if value is None else value


def texts(value: Any, context: Context) -> Any:
    """A list of strings or numbers -> a list of strings."""
    if isinstance(value, Seq):
        for index, (item, at) in enumerate(value.entries()):
            if isinstance(item, float):
                raise context.within(index, at).error(f"`{item}` is not a whole number", "write it in quotes")
            value[index] = values.go_text(item)
    return value if value else DROP


def _to_map(missing: str | None, *, empty: bool = False) -> Function:
    """KEY=VALUE lists and mappings -> a mapping of strings; `missing` stands for what has no value."""

    def function(value: Any, context: Context) -> Any:
        result = Map(context.at)
        if isinstance(value, Map):
            result.start = value.start
            for key, item in value.items():
                result.put(key, missing if item is None else values.go_text(item), value.where(key))
        elif isinstance(value, Seq):
            for item, at in value.entries():
                key, equals, content = str(item).partition("=")
                if key[-1:].isspace() and missing is None:
                    raise Context(context.path, at, at).error(
                        f"the name `{key}` ends with a space", "remove the space before the ="
                    )
                result.put(key, content if equals else missing, (at, at))
        return result if result or empty else DROP

    return function


strings_map = _to_map("")
variables_map = _to_map(None)


def extra_hosts(value: Any, context: Context) -> Any:
    """``host=ip`` or ``host:ip``, a list or a mapping -> a sorted list of ``host=ip``."""
    pairs: list[tuple[str, str]] = []
    if isinstance(value, Map):
        for host, addresses in value.items():
            for address in addresses if isinstance(addresses, list) else [addresses]:
                pairs.append((host, values.go_text(address)))
    elif isinstance(value, Seq):
        for item, at in value.entries():
            line = str(item)
            separator = "=" if "=" in line else ":"
            host, found, addresses = line.partition(separator)
            if not found:
                raise Context(context.path, at, at).error(f"`{line}` lacks an address", "write HOST=ADDRESS")
            pairs.extend((host, address) for address in addresses.split(","))
    lines = []
    for host, address in pairs:
        if not host or ":" in host or "=" in host:
            raise context.error(f"`{host}` is not the name of a host", "write HOST=ADDRESS")
        if len(address) > 2 and address[0] == "[" and address[-1] == "]":
            address = address[1:-1]
        lines.append(f"{host}={address}")
    return Seq(context.at, sorted(lines)) if lines else DROP


def ulimit(value: Any, context: Context) -> Any:
    """A number, or soft and hard."""
    if isinstance(value, Map):
        for key in ("soft", "hard"):
            if isinstance(value.get(key), str):
                raise context.within(key, value.where(key)[1]).error(
                    "is not a whole number", "write it without quotes"
                )
        return value
    try:
        return _integer(value)
    except ValueError as problem:
        raise context.refusal(problem) from None


def ssh(value: Any, context: Context) -> Any:
    """A mapping of key names and paths -> ``default`` or ``ID=path``."""
    if isinstance(value, Map):
        return Seq(context.at, [key if not path else f"{key}={path}" for key, path in value.items()]) or DROP
    return value


def provider_options(value: Any, context: Context) -> Any:
    """Every option a list of strings."""
    if isinstance(value, Map):
        for key, item in value.items():
            items = item if isinstance(item, list) else [item]
            value[key] = Seq(context.at, [values.go_text(one) for one in items])
    return value


def _volume(value: Any, context: Context) -> Any:
    if isinstance(value, Map):
        for key in ("type", "source", "target", "consistency"):
            if value.get(key) in ("", None):
                value.pop(key, None)
    return value


def storage_options(value: Any, context: Context) -> Any:
    """Free options -> strings."""
    if isinstance(value, Map):
        for key, item in value.items():
            value[key] = values.go_text(item)
    return value if value else DROP


def _external(value: Any, context: Context) -> Any:
    try:
        return True if _boolean(value) else DROP
    except ValueError as problem:
        raise context.refusal(problem) from None


def _table() -> dict[str, Function]:
    table: dict[str, Function] = {}

    def add(function: Function, *patterns: str) -> None:
        for pattern in patterns:
            table[pattern] = function

    def service(function: Function, *keys: str) -> None:
        for key in keys:
            table[f"services.*.{key}"] = function

    service(
        text,
        *(
            "cgroup",
            "cgroup_parent",
            "container_name",
            "cpuset",
            "domainname",
            "hostname",
            "image",
            "ipc",
            "isolation",
        ),
        *(
            "mac_address",
            "network_mode",
            "pid",
            "platform",
            "pull_policy",
            "restart",
            "runtime",
            "stop_signal",
        ),
        *(
            "user",
            "userns_mode",
            "uts",
            "working_dir",
            "build.context",
            "build.dockerfile",
            "build.dockerfile_inline",
        ),
        *(
            "build.isolation",
            "build.network",
            "build.target",
            "build.provenance",
            "build.sbom",
            "logging.driver",
        ),
        *("deploy.mode", "deploy.endpoint_mode", "deploy.restart_policy.condition"),
        *("networks.*.ipv4_address", "networks.*.ipv6_address", "networks.*.mac_address"),
        *(
            "networks.*.interface_name",
            "ports.*.name",
            "ports.*.mode",
            "ports.*.host_ip",
            "ports.*.published",
        ),
        *(
            "ports.*.protocol",
            "ports.*.app_protocol",
            "configs.*.source",
            "configs.*.target",
            "configs.*.uid",
        ),
        *("configs.*.gid", "secrets.*.source", "secrets.*.target", "secrets.*.uid", "secrets.*.gid"),
        *("volumes.*.bind.propagation", "volumes.*.bind.selinux", "volumes.*.bind.recursive"),
        *(
            "volumes.*.volume.subpath",
            "volumes.*.image.subpath",
            "devices.*.permissions",
            "devices.*.target",
        ),
    )
    service(
        flag,
        *(
            "oom_kill_disable",
            "privileged",
            "read_only",
            "stdin_open",
            "tty",
            "use_api_socket",
            "build.no_cache",
        ),
        *(
            "build.pull",
            "build.privileged",
            "depends_on.*.restart",
            "healthcheck.disable",
            "volumes.*.read_only",
        ),
        *("volumes.*.bind.create_host_path", "volumes.*.volume.nocopy", "develop.watch.*.initial_sync"),
    )
    for hook in ("post_start.*", "pre_stop.*", "pre_start.*", "develop.watch.*.exec"):
        service(command, f"{hook}.command")
        service(flag, f"{hook}.privileged", f"{hook}.per_replica")
        service(text, f"{hook}.user", f"{hook}.working_dir", f"{hook}.image")
        service(variables_map, f"{hook}.environment")
    service(pointer_flag, "attach", "init", "depends_on.*.required")
    service(
        integer,
        *(
            "cpu_count",
            "cpu_period",
            "cpu_quota",
            "cpu_rt_period",
            "cpu_rt_runtime",
            "cpu_shares",
            "oom_score_adj",
        ),
        *(
            "pids_limit",
            "networks.*.priority",
            "networks.*.gw_priority",
        ),
        *("deploy.resources.limits.pids",),
        *("deploy.placement.max_replicas_per_node",),
        *("deploy.resources.reservations.generic_resources.*.discrete_resource_spec.value",),
    )
    service(
        pointer_integer,
        "scale",
        "deploy.replicas",
    )
    service(pointer_count, "healthcheck.retries", "deploy.restart_policy.max_attempts")
    service(pointer_count, "deploy.update_config.parallelism", "deploy.rollback_config.parallelism")
    service(_checked(_count, drop=(0,)), "ports.*.target")
    service(_checked(_weight, drop=(0,)), "blkio_config.weight")
    service(_checked(_size), "mem_swappiness")
    service(_checked(_weight), "blkio_config.weight_device.*.weight")
    service(text, "models.*.endpoint_var", "models.*.model_var")
    service(
        number,
        *("cpus", "cpu_percent", "deploy.resources.limits.cpus", "deploy.resources.reservations.cpus"),
        *("deploy.update_config.max_failure_ratio", "deploy.rollback_config.max_failure_ratio"),
    )
    service(
        size,
        *("mem_limit", "mem_reservation", "memswap_limit", "shm_size", "build.shm_size"),
        *("deploy.resources.limits.memory", "deploy.resources.reservations.memory", "volumes.*.tmpfs.size"),
    )
    for limit in ("device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops"):
        service(_checked(_size), f"blkio_config.{limit}.*.rate")
        service(non_empty, f"blkio_config.{limit}")
    service(
        pointer_duration, "stop_grace_period", "deploy.restart_policy.delay", "deploy.restart_policy.window"
    )
    for key in ("interval", "timeout", "start_period", "start_interval"):
        service(pointer_duration, f"healthcheck.{key}")
    for config in ("update_config", "rollback_config"):
        service(duration, f"deploy.{config}.delay", f"deploy.{config}.monitor")
    service(mode, "configs.*.mode", "secrets.*.mode", "build.secrets.*.mode")
    service(_checked(_tmpfs_mode, drop=(0,)), "volumes.*.tmpfs.mode")
    service(device_count, "gpus.*.count", "deploy.resources.reservations.devices.*.count")
    service(command, "command", "entrypoint")
    service(texts_or_one, "dns_search", "tmpfs")
    service(healthcheck_test, "healthcheck.test")
    service(texts, "expose", "group_add")
    service(
        strings_map,
        *("annotations", "labels", "sysctls", "build.labels", "build.additional_contexts", "deploy.labels"),
        *("volumes.*.volume.labels", "networks.*.driver_opts", "logging.options", "gpus.*.options"),
        "deploy.resources.reservations.devices.*.options",
    )
    service(variables_map, "environment", "build.args")
    service(extra_hosts, "extra_hosts", "build.extra_hosts")
    service(ulimit, "ulimits.*", "build.ulimits.*")
    service(ssh, "build.ssh")
    service(provider_options, "provider.options")
    service(storage_options, "storage_opt")
    service(_volume, "volumes.*")
    service(
        non_empty,
        *("build.cache_from", "build.cache_to", "build.entitlements", "build.platforms", "build.tags"),
        *(
            "build.secrets",
            "build.ulimits",
            "build.no_cache_filter",
            "cap_add",
            "cap_drop",
            "configs",
            "depends_on",
        ),
        *(
            "device_cgroup_rules",
            "devices",
            "dns",
            "dns_opt",
            "external_links",
            "gpus",
            "label_file",
        ),
        *(
            "links",
            "models",
            "networks",
            "networks.*.aliases",
            "networks.*.link_local_ips",
            "ports",
            "post_start",
        ),
        *("pre_start", "pre_stop", "profiles", "secrets", "security_opt", "ulimits", "volumes"),
        *("volumes_from", "deploy.placement.constraints", "deploy.placement.preferences"),
        *("blkio_config.weight_device", "gpus.*.capabilities", "gpus.*.device_ids", "gpus.*.driver"),
        *("credential_spec.config", "credential_spec.file", "credential_spec.registry"),
        "deploy.resources.reservations.devices.*.device_ids",
        "deploy.resources.reservations.devices.*.driver",
        *("develop.watch.*.target", "develop.watch.*.ignore", "develop.watch.*.include"),
        *(
            "deploy.resources.reservations.devices",
            "deploy.resources.reservations.generic_resources",
            "deploy.update_config.failure_action",
            "deploy.rollback_config.failure_action",
        ),
        "env_file",
    )
    service(
        non_null, "deploy", "develop", "healthcheck", "logging", "credential_spec", "blkio_config", "build"
    )
    add(strings_map, "networks.*.driver_opts", "networks.*.labels", "networks.*.ipam.options")
    add(strings_map, "networks.*.ipam.config.*.aux_addresses", "volumes.*.driver_opts", "volumes.*.labels")
    add(strings_map, "configs.*.labels", "secrets.*.labels", "secrets.*.driver_opts")
    add(flag, "networks.*.attachable", "networks.*.internal")
    add(pointer_flag, "networks.*.enable_ipv4", "networks.*.enable_ipv6")
    add(_external, "networks.*.external", "volumes.*.external", "configs.*.external", "secrets.*.external")
    for kind in ("networks", "volumes", "configs", "secrets"):
        add(text, f"{kind}.*.driver", f"{kind}.*.template_driver", f"{kind}.*.file")
    add(text, "networks.*.ipam.driver")
    for key in ("subnet", "ip_range", "gateway"):
        add(text, f"networks.*.ipam.config.*.{key}")
    add(non_empty, "networks.*.ipam.config", "models.*.runtime_flags")
    return table


_FINAL = Pass(_table())


def canonical(tree: Map) -> Map:
    """Bring every value into its canonical form, in place."""
    for kind in RESOURCES:
        section: Any = tree.get(kind) or {}
        for name, resource in section.items():
            if resource is None:
                section.put(name, Map(section.where(name)[0]), section.where(name))
    _FINAL.apply(tree)
    for service in (tree.get("services") or {}).values():
        service.setdefault("command", None)
        service.setdefault("entrypoint", None)
        deploy = service.get("deploy")
        if isinstance(deploy, Map):
            deploy.setdefault("resources", Map(deploy.start))
            deploy.setdefault("placement", Map(deploy.start))
    for kind in ("configs", "secrets"):
        for resource in (tree.get(kind) or {}).values():
            if CONTENT in resource:
                resource["content"] = resource.pop(CONTENT)
    for network in (tree.get("networks") or {}).values():
        network.setdefault("ipam", Map(network.start))
    return tree
