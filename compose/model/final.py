"""The canonical form: every value of the type and in the notation that `docker compose config` prints.

Environments and labels are mappings of strings, commands lists, sizes decimal numbers in strings, durations
in Go's notation; what equals the default of its type is left out where docker compose leaves it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.model import notation
from compose.model.loader import CONTENT
from compose.model.passes import Pass
from compose.model.project import RESOURCES
from compose.model.tree import Context, Map

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[[Any, Context], Any]

_SERVICES: tuple[tuple[Function, str], ...] = (
    (
        notation.text,
        """
        cgroup cgroup_parent container_name cpuset domainname hostname image ipc isolation mac_address
        network_mode pid platform pull_policy restart runtime stop_signal user userns_mode uts
        working_dir
        build.context build.dockerfile build.dockerfile_inline build.isolation build.network
        build.target build.provenance build.sbom logging.driver
        deploy.mode deploy.endpoint_mode deploy.restart_policy.condition
        networks.*.ipv4_address networks.*.ipv6_address networks.*.mac_address
        networks.*.interface_name
        ports.*.name ports.*.mode ports.*.host_ip ports.*.published ports.*.protocol
        ports.*.app_protocol configs.*.source configs.*.target configs.*.uid configs.*.gid
        secrets.*.source secrets.*.target secrets.*.uid secrets.*.gid
        volumes.*.bind.propagation volumes.*.bind.selinux volumes.*.bind.recursive
        volumes.*.volume.subpath volumes.*.image.subpath devices.*.permissions devices.*.target
        post_start.*.user post_start.*.working_dir post_start.*.image
        pre_stop.*.user pre_stop.*.working_dir pre_stop.*.image
        pre_start.*.user pre_start.*.working_dir pre_start.*.image
        develop.watch.*.exec.user develop.watch.*.exec.working_dir develop.watch.*.exec.image
        models.*.endpoint_var models.*.model_var
        """,
    ),
    (
        notation.flag,
        """
        oom_kill_disable privileged read_only stdin_open tty use_api_socket
        build.no_cache build.pull build.privileged depends_on.*.restart healthcheck.disable
        volumes.*.read_only volumes.*.bind.create_host_path volumes.*.volume.nocopy
        develop.watch.*.initial_sync develop.watch.*.exec.privileged develop.watch.*.exec.per_replica
        post_start.*.privileged post_start.*.per_replica
        pre_stop.*.privileged pre_stop.*.per_replica
        pre_start.*.privileged pre_start.*.per_replica
        """,
    ),
    (
        notation.command,
        """
        post_start.*.command pre_stop.*.command pre_start.*.command develop.watch.*.exec.command
        command entrypoint
        """,
    ),
    (
        notation.variables_map,
        """
        post_start.*.environment pre_stop.*.environment pre_start.*.environment
        develop.watch.*.exec.environment
        environment build.args
        """,
    ),
    (notation.pointer_flag, "attach init depends_on.*.required"),
    (
        notation.integer,
        """
        cpu_count cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares oom_score_adj pids_limit
        networks.*.priority networks.*.gw_priority
        deploy.resources.limits.pids deploy.placement.max_replicas_per_node
        deploy.resources.reservations.generic_resources.*.discrete_resource_spec.value
        """,
    ),
    (notation.pointer_integer, "scale deploy.replicas"),
    (
        notation.pointer_count,
        """
        healthcheck.retries
        deploy.restart_policy.max_attempts deploy.update_config.parallelism
        deploy.rollback_config.parallelism
        """,
    ),
    (notation.port, "ports.*.target"),
    (notation.weight, "blkio_config.weight"),
    (
        notation.pointer_size,
        """
        mem_swappiness
        blkio_config.device_read_bps.*.rate blkio_config.device_read_iops.*.rate
        blkio_config.device_write_bps.*.rate blkio_config.device_write_iops.*.rate
        """,
    ),
    (notation.device_weight, "blkio_config.weight_device.*.weight"),
    (
        notation.number,
        """
        cpus cpu_percent
        deploy.resources.limits.cpus deploy.resources.reservations.cpus
        deploy.update_config.max_failure_ratio deploy.rollback_config.max_failure_ratio
        """,
    ),
    (
        notation.size,
        """
        mem_limit mem_reservation memswap_limit shm_size build.shm_size
        deploy.resources.limits.memory deploy.resources.reservations.memory volumes.*.tmpfs.size
        """,
    ),
    (
        notation.non_empty,
        """
        blkio_config.device_read_bps blkio_config.device_read_iops blkio_config.device_write_bps
        blkio_config.device_write_iops blkio_config.weight_device
        build.cache_from build.cache_to build.entitlements build.platforms build.tags build.secrets
        build.ulimits build.no_cache_filter
        cap_add cap_drop configs depends_on device_cgroup_rules devices dns dns_opt external_links gpus
        label_file links models networks ports post_start pre_start pre_stop profiles secrets
        security_opt ulimits volumes volumes_from env_file
        networks.*.aliases networks.*.link_local_ips
        deploy.placement.constraints deploy.placement.preferences
        deploy.resources.reservations.devices.*.capabilities
        deploy.resources.reservations.devices.*.device_ids
        deploy.resources.reservations.devices.*.driver deploy.resources.reservations.devices
        deploy.resources.reservations.generic_resources deploy.update_config.failure_action
        deploy.rollback_config.failure_action gpus.*.capabilities gpus.*.device_ids gpus.*.driver
        credential_spec.config credential_spec.file credential_spec.registry
        develop.watch.*.target develop.watch.*.ignore develop.watch.*.include
        """,
    ),
    (
        notation.pointer_duration,
        """
        stop_grace_period deploy.restart_policy.delay deploy.restart_policy.window
        healthcheck.interval healthcheck.timeout healthcheck.start_period healthcheck.start_interval
        """,
    ),
    (
        notation.duration,
        """
        deploy.update_config.delay deploy.update_config.monitor deploy.rollback_config.delay
        deploy.rollback_config.monitor
        """,
    ),
    (notation.mode, "configs.*.mode secrets.*.mode build.secrets.*.mode"),
    (notation.tmpfs_mode, "volumes.*.tmpfs.mode"),
    (notation.device_count, "gpus.*.count deploy.resources.reservations.devices.*.count"),
    (notation.texts_or_one, "dns_search tmpfs"),
    (notation.healthcheck_test, "healthcheck.test"),
    (notation.texts, "expose group_add"),
    (
        notation.strings_map,
        """
        annotations labels sysctls build.labels build.additional_contexts
        deploy.labels deploy.resources.reservations.devices.*.options volumes.*.volume.labels
        networks.*.driver_opts logging.options gpus.*.options
        """,
    ),
    (notation.extra_hosts, "extra_hosts build.extra_hosts"),
    (notation.ulimit, "ulimits.* build.ulimits.*"),
    (notation.ssh, "build.ssh"),
    (notation.provider_options, "provider.options"),
    (notation.storage_options, "storage_opt"),
    (notation.volume, "volumes.*"),
    (notation.non_null, "deploy develop healthcheck logging credential_spec blkio_config build"),
)
"""Below ``services.*``: the notation, and the values that have it."""
_OTHERS: tuple[tuple[Function, str], ...] = (
    (
        notation.strings_map,
        """
        networks.*.driver_opts networks.*.labels networks.*.ipam.options
        networks.*.ipam.config.*.aux_addresses volumes.*.driver_opts volumes.*.labels
        configs.*.labels secrets.*.labels secrets.*.driver_opts
        """,
    ),
    (notation.flag, "networks.*.attachable networks.*.internal"),
    (notation.pointer_flag, "networks.*.enable_ipv4 networks.*.enable_ipv6"),
    (
        notation.external,
        """
        networks.*.external volumes.*.external configs.*.external secrets.*.external
        """,
    ),
    (
        notation.text,
        """
        networks.*.driver networks.*.template_driver networks.*.file networks.*.ipam.driver
        networks.*.ipam.config.*.subnet networks.*.ipam.config.*.ip_range
        networks.*.ipam.config.*.gateway volumes.*.driver volumes.*.template_driver volumes.*.file
        configs.*.driver configs.*.template_driver configs.*.file
        secrets.*.driver secrets.*.template_driver secrets.*.file
        """,
    ),
    (notation.non_empty, "networks.*.ipam.config models.*.runtime_flags"),
)
"""The same for everything else."""


def _table() -> dict[str, Function]:
    table = {f"services.*.{key}": function for function, keys in _SERVICES for key in keys.split()}
    return table | {pattern: function for function, patterns in _OTHERS for pattern in patterns.split()}


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
