"""The two files that describe a container, as types.

``spec.json`` is written once, before the container is made, and never changed. ``state.json`` is replaced by
the container's monitor whenever something happens. Both are plain JSON objects; the types below exist for
the type checker only, so that helper processes need not import `typing`: import this module's names under
``if TYPE_CHECKING``.

Times are integers in nanoseconds since the epoch; durations are seconds as floats; sizes are bytes.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, Required, TypedDict

    Status = Literal["created", "running", "paused", "restarting", "exited", "dead"]

    class User(TypedDict, total=False):
        """OCI ``process.user``, or what an image or a person wrote: ``name[:group]``."""

        uid: int
        gid: int
        umask: int
        additionalGids: list[int]
        username: str
        """Resolved inside the root file system when the process starts; wins over uid and gid."""
        additionalGroups: list[str]
        """Names or numbers (``group_add``), resolved like `username`."""

    class Process(TypedDict, total=False):
        """OCI runtime specification 1.2, config.md, Process."""

        terminal: bool
        consoleSize: dict[str, int]
        """``height`` and ``width`` of the terminal in characters."""
        user: User
        args: list[str]
        env: list[str]
        cwd: str
        capabilities: dict[str, list[str]]
        rlimits: list[dict[str, Any]]
        noNewPrivileges: bool
        oomScoreAdj: int
        apparmorProfile: str
        selinuxLabel: str
        diesWithMonitor: bool
        """Not of OCI: whether it is killed when the monitor that started it ends."""
        preservedDescriptors: int
        """Not of OCI: how many descriptors from 3 on the process gets from whoever starts it."""
        callersKeyring: bool
        """Not of OCI: whether it keeps the session keyring of whoever starts it."""

    class OciConfig(TypedDict, total=False):
        """The parts of an OCI ``config.json`` that the runtime acts on."""

        ociVersion: str
        process: Process
        root: dict[str, Any]
        hostname: str
        domainname: str
        mounts: list[dict[str, Any]]
        linux: dict[str, Any]
        annotations: dict[str, str]
        hooks: dict[str, list[dict[str, Any]]]
        """``prestart``, ``createRuntime`` and ``createContainer``."""

    class RootFilesystem(TypedDict, total=False):
        """An overlay that is mounted inside the container's own mount namespace, never on the host."""

        lower: list[str]
        """Layer directories, uppermost first; at least one."""
        upper: str
        work: str

    class Endpoint(TypedDict, total=False):
        """One interface of a container."""

        network: str
        """The id of the network."""
        key: str
        """What the compose file calls it."""
        interface: str
        ipv4: str
        """Address with prefix length, ``10.1.2.3/24``."""
        gateway: str
        ipv6: str
        """Address with prefix length; missing: none."""
        gateway6: str
        mac: str
        names: list[str]
        internal: bool
        sandbox: str
        """The project in whose namespace the network lives."""
        link_local: list[str]
        """More addresses, with prefix lengths."""
        sysctls: dict[str, str]
        """Settings of the interface, by their paths below /proc/sys."""

    class Healthcheck(TypedDict):
        """What decides whether the container is healthy; ``test`` begins with CMD or CMD-SHELL."""

        test: list[str]
        interval: float
        timeout: float
        retries: int
        start_period: float
        start_interval: float

    class RestartPolicy(TypedDict, total=False):
        name: Required[Literal["no", "always", "on-failure", "unless-stopped"]]
        max_attempts: Required[int]
        """0: without limit."""
        delay: float
        """Between the end of a run and the next one; missing: Docker's growing one."""
        window: float
        """A run that lasted so long makes the restart before it no attempt; missing or 0: each one counts."""

    class Logging(TypedDict, total=False):
        driver: Required[Literal["json-file", "local", "none", "syslog", "journald", "fluentd", "gelf"]]
        max_size: Required[int]
        max_files: Required[int]
        address: str | list[Any]
        """For a driver that sends lines on: a path, or a host's address and a port."""
        stream: bool
        """Whether to connect there, rather than to send datagrams."""
        tag: str
        extra: dict[str, str]
        """Labels and variables of the container that go with each line."""
        options: dict[str, str]
        facility: int

    class ContainerSpec(TypedDict, total=False):
        """``spec.json``."""

        version: int
        id: str
        """64 hexadecimal digits."""
        name: str
        project: str
        service: str
        number: int
        oneoff: bool
        """Whether it is of a ``run``, not one of the containers of its service."""
        auto_remove: bool
        """Whether nobody wants it any more once it has ended."""
        image: str
        """The image's id, ``sha256:...``."""
        image_name: str
        config_hash: str
        labels: dict[str, str]
        created: int
        oci: OciConfig
        rootfs: RootFilesystem
        bundle: str
        """The container's directory, in which hooks find a config.json."""
        cgroup_parent: str
        """A group of the user's choice below which the container's lies; empty: the project's."""
        network_namespace: str
        """Path that pins the container's network namespace; empty: that of the caller."""
        shared: dict[str, str]
        """Namespaces that are another container's, by kind (``network``, ``pid``, ``ipc``): its id."""
        init: bool
        """Whether process 1 is the init of init.py, and the command its child."""
        ipc_shareable: bool
        """Whether others may have its ipc namespace."""
        endpoints: list[Endpoint]
        ports: list[dict[str, Any]]
        exposed: list[str]
        """``80/tcp``: what the image and the service say that it listens on; only shown."""
        contents: dict[str, str]
        """``configs.NAME`` or ``secrets.NAME`` -> a digest of what the file was filled with."""
        filled: list[str]
        """Files beside spec.json that are not empty, unless a power cut came before they were on disk."""
        lenders: list[str]
        """The ids of the containers whose mounts it takes over (``volumes_from``)."""
        lent: list[dict[str, Any]]
        """What others may take over besides its volumes: bind mounts and images, as in `oci`."""
        volumes: list[dict[str, Any]]
        stop_signal: str
        stop_grace_period: float
        restart: RestartPolicy
        restart_on_unhealthy: bool
        healthcheck: Healthcheck | None
        logging: Logging
        stdin_open: bool
        seccomp: str
        """Path of a compiled BPF program; empty: unconfined."""

    class Health(TypedDict):
        status: Literal["starting", "healthy", "unhealthy"]
        failing_streak: int
        log: list[dict[str, Any]]

    class ContainerState(TypedDict, total=False):
        """``state.json``."""

        version: int
        status: Status
        boot_id: str
        """Another boot id than the running one: nothing recorded here runs any more."""
        pid: int
        """Process 1 of the container as the host sees it; 0 when none runs."""
        start_time: int
        """Field 22 of /proc/PID/stat, in clock ticks after boot; pid and start time name a process."""
        monitor_pid: int
        monitor_start_time: int
        started_at: int
        finished_at: int
        exit_code: int | None
        """None while it runs, and when it could not be learnt: never invented."""
        oom_killed: bool
        oom_kills: int
        """What the control group's counter said when the container started."""
        error: str
        restart_count: int
        restart_attempts: int
        """Restarts that count toward the policy's `max_attempts`."""
        restart_reason: str
        """``unhealthy`` when that is why the present run began; missing otherwise."""
        restarting_unhealthy: bool
        """The container is being ended, to be started again, because it is unhealthy."""
        restarting_by_hand: bool
        """Set while a user's ``restart`` is under way: the next start belongs to it."""
        resume_at_boot: bool
        """It was stopped because the machine goes down."""
        poststart_due: bool
        """The hooks that follow the start have not been run, as far as is known."""
        files: dict[str, str]
        """Paths of the followed files (follow.py), by their place in the list of mounts."""
        stopped_by_user: bool
        health: Health | None
        unwritten: str
        """Where this could not be written, and why; missing when it stands where it should."""
        lost: list[str]
        """Names of sockets that were lost with the helpers, and not to be had again yet (reopening.py)."""


VERSION = 1
SPEC_FILE = "spec.json"
STATE_FILE = "state.json"
PORTS_FILE = "ports.json"
"""The published ports that were got: a list of host_ip, published, target, protocol."""
SOCKETS_FILE = "sockets.json"
"""Where its sockets are bound: name -> a list of family, type, address (supervision/monitor/reopening.py)."""
SHARED_SHM = "shared-shm"
"""The type of a mount that shows /dev/shm of the container whose ipc namespace is shared."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when neither the image nor the user says it."""


def health_of(state: ContainerState) -> str:
    """``starting``, ``healthy``, ``unhealthy``, or "" for a container without a health check."""
    health = state.get("health")
    return health["status"] if health else ""
