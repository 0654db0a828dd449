"""The canonical form in types: what `docker compose config --format json` prints, key by key.

Imported for type checking only. Sizes are decimal numbers in strings ("67108864"), durations Go's notation
("1m30s"); model/values.py turns both into numbers. A key that is not there has its type's default.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]


class Ulimit(TypedDict):
    soft: int
    hard: int


class FileMount(TypedDict, total=False):
    """An entry of a service's `configs` or `secrets`; `mode` is octal text such as "0440"."""

    source: str
    target: str
    uid: str
    gid: str
    mode: str


class Build(TypedDict, total=False):
    context: str
    dockerfile: str
    dockerfile_inline: str
    args: dict[str, str]
    target: str
    labels: dict[str, str]
    tags: list[str]
    no_cache: bool
    no_cache_filter: list[str]
    pull: bool
    cache_from: list[str]
    cache_to: list[str]
    additional_contexts: dict[str, str]
    entitlements: list[str]
    extra_hosts: list[str]
    isolation: str
    network: str
    platforms: list[str]
    privileged: bool
    provenance: str
    sbom: str
    secrets: list[FileMount]
    shm_size: str
    ssh: list[str]
    ulimits: dict[str, int | Ulimit]


class Dependency(TypedDict):
    condition: Condition
    required: bool
    restart: NotRequired[bool]


class Healthcheck(TypedDict, total=False):
    test: list[str]
    interval: str
    timeout: str
    retries: int
    start_period: str
    start_interval: str
    disable: bool


class Logging(TypedDict, total=False):
    driver: str
    options: dict[str, str]


class Endpoint(TypedDict, total=False):
    """How a service joins one network."""

    aliases: list[str]
    driver_opts: dict[str, str]
    gw_priority: int
    interface_name: str
    ipv4_address: str
    ipv6_address: str
    link_local_ips: list[str]
    mac_address: str
    priority: int


class Port(TypedDict):
    """One published or exposed port; `published` may be a range "8000-8010" for one target."""

    target: int
    protocol: str
    mode: NotRequired[str]
    host_ip: NotRequired[str]
    published: NotRequired[str]
    name: NotRequired[str]
    app_protocol: NotRequired[str]


class BindOptions(TypedDict, total=False):
    propagation: str
    selinux: str
    create_host_path: bool
    recursive: str


class VolumeOptions(TypedDict, total=False):
    nocopy: bool
    subpath: str
    labels: dict[str, str]


class TmpfsOptions(TypedDict, total=False):
    """`mode` is the number as the file has it: 01777 in YAML is 1023."""

    size: str
    mode: int


class ImageOptions(TypedDict, total=False):
    subpath: str


class Mount(TypedDict):
    type: Literal["bind", "volume", "tmpfs", "cluster", "npipe", "image"]
    target: str
    source: NotRequired[str]
    read_only: NotRequired[bool]
    consistency: NotRequired[str]
    bind: NotRequired[BindOptions]
    volume: NotRequired[VolumeOptions]
    tmpfs: NotRequired[TmpfsOptions]
    image: NotRequired[ImageOptions]


class Device(TypedDict, total=False):
    source: str
    target: str
    permissions: str


class DeviceRequest(TypedDict, total=False):
    """`count` -1 means all."""

    capabilities: list[str]
    driver: str
    count: int
    device_ids: list[str]
    options: dict[str, str]


class Limits(TypedDict, total=False):
    cpus: float
    memory: str
    pids: int


class Reservations(TypedDict, total=False):
    cpus: float
    memory: str
    generic_resources: list[dict[str, Any]]
    devices: list[DeviceRequest]


class Resources(TypedDict, total=False):
    limits: Limits
    reservations: Reservations


class RestartPolicy(TypedDict, total=False):
    condition: str
    delay: str
    max_attempts: int
    window: str


class UpdateConfig(TypedDict, total=False):
    parallelism: int
    delay: str
    failure_action: str
    monitor: str
    max_failure_ratio: float
    order: str


class Deploy(TypedDict, total=False):
    mode: str
    replicas: int
    endpoint_mode: str
    labels: dict[str, str]
    resources: Resources
    restart_policy: RestartPolicy
    update_config: UpdateConfig
    rollback_config: UpdateConfig
    placement: dict[str, Any]


class Hook(TypedDict, total=False):
    """`image` and `per_replica` belong to `pre_start` only."""

    command: list[str]
    image: str
    user: str
    privileged: bool
    working_dir: str
    environment: dict[str, str | None]
    per_replica: bool


class Watch(TypedDict, total=False):
    path: str
    action: str
    target: str
    ignore: list[str]
    include: list[str]
    exec: Hook
    initial_sync: bool


class Develop(TypedDict, total=False):
    watch: list[Watch]


class Provider(TypedDict, total=False):
    type: str
    options: dict[str, list[str]]


class ServiceConfig(TypedDict, total=False):
    """One service. `command` and `entrypoint` are always there: None is the image's, [] is none."""

    annotations: dict[str, str]
    attach: bool
    blkio_config: dict[str, Any]
    build: Build
    cap_add: list[str]
    cap_drop: list[str]
    cgroup: str
    cgroup_parent: str
    command: list[str] | None
    configs: list[FileMount]
    container_name: str
    cpu_count: int
    cpu_percent: float
    cpu_period: int
    cpu_quota: int
    cpu_rt_period: int
    cpu_rt_runtime: int
    cpu_shares: int
    cpus: float
    cpuset: str
    credential_spec: dict[str, str]
    depends_on: dict[str, Dependency]
    deploy: Deploy
    develop: Develop
    device_cgroup_rules: list[str]
    devices: list[Device]
    dns: list[str]
    dns_opt: list[str]
    dns_search: list[str]
    domainname: str
    entrypoint: list[str] | None
    environment: dict[str, str | None]
    expose: list[str]
    external_links: list[str]
    extra_hosts: list[str]
    gpus: list[DeviceRequest]
    group_add: list[str]
    healthcheck: Healthcheck
    hostname: str
    image: str
    init: bool
    ipc: str
    isolation: str
    labels: dict[str, str]
    links: list[str]
    logging: Logging
    mac_address: str
    mem_limit: str
    mem_reservation: str
    mem_swappiness: str
    memswap_limit: str
    models: dict[str, dict[str, str] | None]
    network_mode: str
    networks: dict[str, Endpoint | None]
    oom_kill_disable: bool
    oom_score_adj: int
    pid: str
    pids_limit: int
    platform: str
    ports: list[Port]
    post_start: list[Hook]
    pre_start: list[Hook]
    pre_stop: list[Hook]
    privileged: bool
    profiles: list[str]
    provider: Provider
    pull_policy: str
    read_only: bool
    restart: str
    runtime: str
    scale: int
    secrets: list[FileMount]
    security_opt: list[str]
    shm_size: str
    stdin_open: bool
    stop_grace_period: str
    stop_signal: str
    storage_opt: dict[str, str]
    sysctls: dict[str, str]
    tmpfs: list[str]
    tty: bool
    ulimits: dict[str, int | Ulimit]
    use_api_socket: bool
    user: str
    userns_mode: str
    uts: str
    volumes: list[Mount]
    volumes_from: list[str]
    working_dir: str


class Pool(TypedDict, total=False):
    subnet: str
    ip_range: str
    gateway: str
    aux_addresses: dict[str, str]


class Ipam(TypedDict, total=False):
    driver: str
    config: list[Pool]
    options: dict[str, str]


class NetworkConfig(TypedDict):
    """`name` is the real name, with the project's before it."""

    name: str
    ipam: Ipam
    driver: NotRequired[str]
    driver_opts: NotRequired[dict[str, str]]
    attachable: NotRequired[bool]
    enable_ipv4: NotRequired[bool]
    enable_ipv6: NotRequired[bool]
    external: NotRequired[bool]
    internal: NotRequired[bool]
    labels: NotRequired[dict[str, str]]


class VolumeConfig(TypedDict):
    name: str
    driver: NotRequired[str]
    driver_opts: NotRequired[dict[str, str]]
    external: NotRequired[bool]
    labels: NotRequired[dict[str, str]]


class ConfigConfig(TypedDict):
    """`content` is there for `environment` as well: the variable's value, which `config` does not print."""

    name: str
    file: NotRequired[str]
    content: NotRequired[str]
    environment: NotRequired[str]
    external: NotRequired[bool]
    labels: NotRequired[dict[str, str]]
    template_driver: NotRequired[str]


class SecretConfig(TypedDict):
    """`content` is the variable's value; never printed."""

    name: str
    file: NotRequired[str]
    content: NotRequired[str]
    environment: NotRequired[str]
    external: NotRequired[bool]
    driver: NotRequired[str]
    driver_opts: NotRequired[dict[str, str]]
    labels: NotRequired[dict[str, str]]
    template_driver: NotRequired[str]


class ModelConfig(TypedDict, total=False):
    name: str
    model: str
    context_size: int
    runtime_flags: list[str]
