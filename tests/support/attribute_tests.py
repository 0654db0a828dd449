"""Which test shows what a key of a service does inside a container.

A row for each key of the schema, or for one above it where a test has all of those below. Patterns are those
of `model/support.py`, without ``services.*.``.
"""

from __future__ import annotations

_ATTRIBUTES = "e2e/test_attributes{}.py::test_every_key_has_its_effect"
_PLAIN = _ATTRIBUTES.format("")
_NETWORK = _ATTRIBUTES.format("_network")
_PROJECT = _ATTRIBUTES.format("_project")
_PROCESS = _ATTRIBUTES.format("_process")
_LIMITS = "e2e/test_resources.py::test_every_limit_is_kept_by_the_kernel"
_BUILD = "e2e/test_build.py::test_every_key_of_a_build_has_its_effect"
_DEVICES = "e2e/test_devices.py::test_devices_are_there_with_the_access_that_was_asked_for"
_VENDORS = "e2e/test_devices.py::test_a_vendor_describes_devices"
_NAMESPACES = "e2e/test_attributes_namespaces.py::test_namespaces_of_the_host"
_SHARED = "e2e/test_attributes_namespaces.py::test_namespaces_of_another_service"
_FILES = "e2e/test_mounts.py::test_configs_and_secrets_from_everywhere"
_POLICY = "e2e/test_supervision.py::test_a_policy_of_deploy_is_kept_in_the_place_of_the_other"
_HEALTH = "e2e/test_supervision.py::test_a_health_check_is_probed_as_often_as_it_says"
_FORMS = "e2e/test_supervision.py::test_a_health_check_may_be_written_in_every_form"
_HOOKS = "e2e/test_hooks.py::test_hooks_before_the_start_and_the_stop_run_as_they_are_told"
_PREPARED = "e2e/test_hooks.py::test_pre_start_runs_before_it_starts_in_containers_of_their_own"
_ADDRESSES = "e2e/test_addresses.py::test_ranges_gateways_and_reserved_addresses"
_INTERFACES = "e2e/test_addresses.py::test_interfaces_their_order_names_and_routes"
_PORTS = "e2e/test_attributes_project.py::test_ports_in_every_form"
_BINDS = "e2e/test_mounts.py::test_bind_mounts_with_mounts_below_them"
_VOLUMES = "e2e/test_mounts.py::test_volumes_in_part_and_without_content"
_ANONYMOUS = "e2e/test_volumes.py::test_each_container_has_anonymous_volumes_and_they_are_renewed_on_request"
_TMPFS = "e2e/test_mounts.py::test_tmpfs_options_short_and_long"

TESTS: dict[str, str] = {
    "annotations": "e2e/test_devices.py::test_a_hook_inside_has_the_rights_of_the_program",
    "attach": "e2e/test_supervision.py::test_a_service_that_is_not_attached_is_only_shown_when_it_is_named",
    "blkio_config.device_read_bps": _LIMITS,
    "blkio_config.device_read_iops": _LIMITS,
    "blkio_config.device_write_bps": _LIMITS,
    "blkio_config.device_write_iops": _LIMITS,
    "blkio_config.weight": (
        "e2e/test_resources.py::test_block_devices_are_shared_by_weight_or_the_reason_is_said"
    ),
    "blkio_config.weight_device": (
        "e2e/test_resources.py::test_one_block_device_has_a_weight_of_its_own_or_the_reason_is_said"
    ),
    "build.args": "e2e/test_build.py::test_up_builds_what_is_missing",
    "build.context": _BUILD,
    "build.dockerfile": _BUILD,
    "build.dockerfile_inline": _BUILD,
    "build.labels": _BUILD,
    "build.no_cache": _BUILD,
    "build.tags": _BUILD,
    "build.target": _BUILD,
    "cap_add": _PLAIN,
    "cap_drop": _PLAIN,
    "cgroup": _NAMESPACES,
    "cgroup_parent": "e2e/test_resources.py::test_a_container_lies_below_the_group_that_was_named",
    "command": _PLAIN,
    "configs.*.gid": _FILES,
    "configs.*.mode": _FILES,
    "configs.*.source": _FILES,
    "configs.*.target": _FILES,
    "configs.*.uid": _FILES,
    "container_name": _PROJECT,
    "cpu_period": _LIMITS,
    "cpu_quota": _LIMITS,
    "cpu_rt_period": _LIMITS,
    "cpu_rt_runtime": _LIMITS,
    "cpu_shares": _LIMITS,
    "cpus": _LIMITS,
    "cpuset": _LIMITS,
    "depends_on.*.condition": "e2e/test_up_down.py::test_a_service_waits_until_another_one_is_healthy",
    "depends_on.*.required": _PROJECT,
    "depends_on.*.restart": "e2e/test_life.py::test_restart_takes_along_who_asked_for_it",
    "deploy.replicas": "e2e/test_up_down.py::test_compatibility_names_containers_as_docker_compose_1_did",
    "deploy.resources.limits.cpus": _LIMITS,
    "deploy.resources.limits.memory": _LIMITS,
    "deploy.resources.limits.pids": _LIMITS,
    "deploy.resources.reservations.devices.*.capabilities": _VENDORS,
    "deploy.resources.reservations.devices.*.count": _VENDORS,
    "deploy.resources.reservations.devices.*.device_ids": _VENDORS,
    "deploy.resources.reservations.devices.*.driver": _VENDORS,
    "deploy.resources.reservations.memory": _LIMITS,
    "deploy.restart_policy.condition": _POLICY,
    "deploy.restart_policy.delay": _POLICY,
    "deploy.restart_policy.max_attempts": _POLICY,
    "deploy.restart_policy.window": _POLICY,
    "device_cgroup_rules": _DEVICES,
    "devices.*.permissions": _DEVICES,
    "devices.*.source": _DEVICES,
    "devices.*.target": _DEVICES,
    "dns": _NETWORK,
    "dns_opt": _NETWORK,
    "dns_search": _NETWORK,
    "domainname": _PLAIN,
    "entrypoint": _PLAIN,
    "env_file.*.format": _PROJECT,
    "env_file.*.path": _PROJECT,
    "env_file.*.required": _PROJECT,
    "environment": _PLAIN,
    "expose": (
        "e2e/test_attributes_project.py::test_exposed_ports_are_shown_and_reached_from_other_services_alone"
    ),
    "extends.file": _PROJECT,
    "extends.service": _PROJECT,
    "external_links": "e2e/test_attributes_network.py::test_external_links",
    "extra_hosts": _PLAIN,
    "gpus.*.capabilities": _VENDORS,
    "gpus.*.count": _VENDORS,
    "gpus.*.device_ids": _VENDORS,
    "gpus.*.driver": _VENDORS,
    "group_add": _PLAIN,
    "healthcheck.disable": _FORMS,
    "healthcheck.interval": _HEALTH,
    "healthcheck.retries": _HEALTH,
    "healthcheck.start_interval": _HEALTH,
    "healthcheck.start_period": _HEALTH,
    "healthcheck.test": _FORMS,
    "healthcheck.timeout": _HEALTH,
    "hostname": _PLAIN,
    "image": _PLAIN,
    "init": _PROCESS,
    "ipc": _NAMESPACES,
    "label_file": "e2e/test_attributes_project.py::test_labels_of_files_are_below_those_of_the_service",
    "labels": "e2e/test_attributes_process.py::test_labels_and_annotations_stay_with_the_container",
    "links": _PLAIN,
    "logging.driver": "e2e/test_logs.py::test_a_log_driver_sends_lines_on_and_logs_keeps_them",
    "logging.options": "e2e/test_logs.py::test_the_last_lines_stay_although_one_file_of_a_log_is_full",
    "mac_address": _PLAIN,
    "mem_limit": "e2e/test_resources.py::test_who_takes_too_much_memory_is_killed_and_that_is_said",
    "mem_reservation": _LIMITS,
    "mem_swappiness": _LIMITS,
    "memswap_limit": _LIMITS,
    "models.*.endpoint_var": "e2e/test_outside.py::test_a_model_runner_serves_models",
    "models.*.model_var": "e2e/test_outside.py::test_a_model_runner_serves_models",
    "network_mode": _SHARED,
    "networks.*.aliases": _PLAIN,
    "networks.*.driver_opts": _NETWORK,
    "networks.*.gw_priority": _INTERFACES,
    "networks.*.interface_name": _INTERFACES,
    "networks.*.ipv4_address": _ADDRESSES,
    "networks.*.ipv6_address": _ADDRESSES,
    "networks.*.link_local_ips": _NETWORK,
    "networks.*.mac_address": _PLAIN,
    "networks.*.priority": _INTERFACES,
    "oom_kill_disable": _LIMITS,
    "oom_score_adj": _PLAIN,
    "pid": _NAMESPACES,
    "pids_limit": "e2e/test_resources.py::test_the_number_of_processes_is_bounded",
    "platform": (
        "e2e/test_attributes_process.py::test_a_foreign_program_runs_where_the_kernel_has_an_interpreter"
    ),
    "ports.*.app_protocol": _PORTS,
    "ports.*.host_ip": _PORTS,
    "ports.*.mode": _PORTS,
    "ports.*.name": _PORTS,
    "ports.*.protocol": _PORTS,
    "ports.*.published": _PORTS,
    "ports.*.target": _PORTS,
    "post_start": "e2e/test_hooks.py::test_post_start_runs_in_the_container_as_it_is_told",
    "pre_start.*.command": _PREPARED,
    "pre_start.*.environment": _HOOKS,
    "pre_start.*.image": _HOOKS,
    "pre_start.*.per_replica": _PREPARED,
    "pre_start.*.privileged": _HOOKS,
    "pre_start.*.user": _HOOKS,
    "pre_start.*.working_dir": _HOOKS,
    "pre_stop": _HOOKS,
    "privileged": _PROCESS,
    "profiles": "e2e/test_attributes_project.py::test_profiles_say_what_is_started",
    "provider.options": "e2e/test_outside.py::test_options_are_those_of_the_providers_metadata",
    "provider.type": "e2e/test_outside.py::test_a_provider_makes_a_service_and_says_how_it_is_reached",
    "pull_policy": "e2e/test_attributes_project.py::test_when_images_are_made_or_fetched",
    "read_only": _PLAIN,
    "restart": "e2e/test_supervision.py::test_containers_are_started_again_as_their_policy_says",
    "runtime": _PROCESS,
    "scale": "e2e/test_copy.py::test_every_container_of_a_service_gets_a_copy",
    "secrets.*.gid": _FILES,
    "secrets.*.mode": _FILES,
    "secrets.*.source": _FILES,
    "secrets.*.target": _FILES,
    "secrets.*.uid": _FILES,
    "security_opt": _PROCESS,
    "shm_size": _PLAIN,
    "stdin_open": _PLAIN,
    "stop_grace_period": "e2e/test_stop.py::test_containers_stop_at_the_same_time",
    "stop_signal": "e2e/test_stop.py::test_the_stop_signal_is_the_services_and_time_is_given_by_hand",
    "storage_opt": "system/test_quota.py::test_a_container_cannot_write_more_than_it_may",
    "sysctls": _PLAIN,
    "tmpfs": _TMPFS,
    "tty": _PLAIN,
    "ulimits": _PLAIN,
    "user": _PLAIN,
    "userns_mode": _NAMESPACES,
    "uts": _NAMESPACES,
    "volumes.*.bind.create_host_path": (
        "e2e/test_errors.py::test_a_missing_bind_source_is_made_unless_the_file_forbids_it"
    ),
    "volumes.*.bind.propagation": (
        "e2e/test_mounts.py::test_mounts_come_and_go_with_the_hosts_where_that_is_asked_for"
    ),
    "volumes.*.bind.recursive": _BINDS,
    "volumes.*.bind.selinux": "e2e/test_mounts.py::test_directories_are_labelled_where_the_host_has_selinux",
    "volumes.*.consistency": _BINDS,
    "volumes.*.image.subpath": (
        "e2e/test_mounts_images.py::test_an_image_is_seen_whole_or_in_part_and_cannot_be_written"
    ),
    "volumes.*.read_only": _BINDS,
    "volumes.*.source": _BINDS,
    "volumes.*.target": _BINDS,
    "volumes.*.tmpfs.mode": _TMPFS,
    "volumes.*.tmpfs.size": _TMPFS,
    "volumes.*.type": _BINDS,
    "volumes.*.volume.labels": _ANONYMOUS,
    "volumes.*.volume.nocopy": _VOLUMES,
    "volumes.*.volume.subpath": _VOLUMES,
    "volumes_from": "e2e/test_volumes_from.py::test_all_mounts_of_a_service_are_there_and_its_own_win",
    "working_dir": _PLAIN,
}
