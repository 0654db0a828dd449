"""A service and its image -> ``spec.json``."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, NamedTuple

from compose.runtime.container import apparmor
from compose.runtime.container.modules import has_apparmor, has_selinux
from compose.runtime.container.oci import default_oci
from compose.runtime.spec import VERSION

from . import sysctls
from .identity import own_labels
from .lifecycle import grace_period, healthcheck, restart_policy, restarts_unhealthy, stop_signal
from .logging import About, logging
from .mounts import bind_mount
from .namespaces import has_own_network, mode
from .process import arguments, descriptors, environment, rlimits
from .resources import resources
from .security import security

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.images.catalogue import Image
    from compose.model import Project
    from compose.plan.target import Wanted
    from compose.runtime.spec import ContainerSpec, Endpoint, OciConfig

    from ..devices import HostDevices
    from .identity import Identity
    from .mounts import Mounts
    from .security import Security


class WrittenFile(NamedTuple):
    """A file of ours that the container sees."""

    source: str
    target: str
    read_only: bool


class Attached(NamedTuple):
    """What the engine has found, made and reserved for it."""

    lower: list[str]
    """Layer directories, uppermost first."""
    mounts: Mounts
    volume_directories: Mapping[str, str]
    written: list[WrittenFile]
    filled: list[str]
    """Which files in its directory have a content, by their paths there."""
    lenders: list[str]
    """The ids of the containers whose mounts it takes over."""
    endpoints: list[Endpoint]
    namespace: str
    """Path of the network namespace; empty: the host's."""
    shared: Mapping[str, str]
    """Kind of namespace -> the id of the container that it belongs to."""
    hostname: str
    seccomp: str
    ports: list[dict[str, Any]]
    devices: HostDevices
    apparmor: str
    """The AppArmor profile of those that name none; empty: there is none."""


_REPLACED = frozenset({"/dev/shm", "/dev/mqueue"})
"""Mounts of every container that are not made where something else is mounted."""


def container_spec(
    wanted: Wanted, project: Project, image: Image, identity: Identity, attached: Attached
) -> ContainerSpec:
    """The whole of ``spec.json``."""
    service = wanted.config
    of_image: Mapping[str, Any] = image.config.get("config") or {}
    labels = {**(of_image.get("Labels") or {}), **(service.get("labels") or {})}
    oci = _oci(wanted, of_image, identity, attached)
    return {
        "version": VERSION,
        "id": identity.id,
        "name": identity.name,
        "project": identity.project,
        "service": wanted.name,
        "number": identity.number,
        "oneoff": wanted.oneoff is not None,
        "auto_remove": wanted.oneoff is not None and wanted.oneoff.auto_remove,
        "image": image.id,
        "image_name": wanted.image,
        "config_hash": wanted.config_hash,
        "labels": {**labels, **own_labels(wanted, project, identity, image.id)},
        "created": identity.created,
        "oci": oci,
        "rootfs": {
            "lower": attached.lower,
            "upper": f"{identity.directory}/upper",
            "work": f"{identity.directory}/work",
        },
        "bundle": identity.directory,
        "cgroup_parent": str(service.get("cgroup_parent") or ""),
        "network_namespace": attached.namespace,
        "shared": dict(attached.shared),
        "init": bool(service.get("init")),
        "ipc_shareable": str(service.get("ipc") or "") in ("shareable", "host"),
        "endpoints": attached.endpoints,
        "ports": attached.ports,
        "exposed": _exposed(service, of_image),
        "contents": dict(wanted.contents),
        "filled": attached.filled,
        "lenders": list(attached.lenders),
        "lent": [mount for mount in attached.mounts.oci if mount["type"] != "tmpfs"],
        "volumes": [use._asdict() for use in attached.mounts.volumes],
        "stop_signal": stop_signal(service, of_image),
        "stop_grace_period": grace_period(service),
        "restart": restart_policy(service),
        "restart_on_unhealthy": restarts_unhealthy(service, labels),
        "healthcheck": healthcheck(service, of_image),
        "logging": logging(service, _about(wanted, image, identity, labels, oci)),
        "stdin_open": bool(service.get("stdin_open")),
        "seccomp": attached.seccomp,
    }


def _about(
    wanted: Wanted, image: Image, identity: Identity, labels: Mapping[str, str], oci: OciConfig
) -> About:
    process = oci["process"]
    command = " ".join(process["args"])
    return About(identity.id, identity.name, image.id, wanted.image, command, labels, process["env"])


def _exposed(service: Mapping[str, Any], image: Mapping[str, Any]) -> list[str]:
    given = [*(image.get("ExposedPorts") or ()), *(service.get("expose") or ())]
    return sorted({str(port) if "/" in str(port) else f"{port}/tcp" for port in given})


def _oci(wanted: Wanted, image: Mapping[str, Any], identity: Identity, attached: Attached) -> OciConfig:
    service = wanted.config
    terminal = bool(service.get("tty"))
    edits = attached.devices.edits
    options = security(service)
    config = default_oci(
        args=arguments(service, image, identity.name),
        env=[*environment(service, image), *edits.env],
        cwd=str(service.get("working_dir") or image.get("WorkingDir") or "/"),
        user={
            "username": str(service.get("user") or image.get("User") or ""),
            "additionalGroups": [str(group) for group in (*(service.get("group_add") or ()), *edits.groups)],
        },
        terminal=terminal,
        hostname=attached.hostname,
        domainname=str(service.get("domainname") or ""),
        cap_add=service.get("cap_add") or (),
        cap_drop=service.get("cap_drop") or (),
        privileged=bool(service.get("privileged")),
        readonly=bool(service.get("read_only")),
        shm_size=int(service.get("shm_size") or 64 * 1024 * 1024),
        pid=mode(service, "pid"),
        ipc=mode(service, "ipc"),
        uts=mode(service, "uts"),
        cgroup=mode(service, "cgroup"),
        sysctls={
            **sysctls.of_container(service),
            **({} if has_own_network(service) else sysctls.of_network(service)),
        },
        no_new_privileges=options.no_new_privileges,
        own_network=has_own_network(service),
    )
    if terminal and wanted.oneoff is not None:
        config["process"]["consoleSize"] = dict(wanted.oneoff.console_size)
    wanted_mounts = [*_mounts(attached), *edits.mounts]
    taken = {str(mount["destination"]) for mount in wanted_mounts}
    replaced = _REPLACED & taken
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] not in replaced]
    config["mounts"] += wanted_mounts
    config["linux"]["devices"] += [node for node in edits.nodes if node["path"] not in taken]
    if edits.hooks:
        config["hooks"] = edits.hooks
    limits = config["linux"]["resources"]
    limits["devices"] += edits.rules
    limits.update(resources(service))
    if attached.devices.blocks:
        limits["blockIO"] = attached.devices.blocks
    _apply(config, options, attached.apparmor if not service.get("privileged") else "")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    config["process"]["rlimits"] = [*descriptors(service, hard), *rlimits(service)]
    config["process"]["oomScoreAdj"] = int(service.get("oom_score_adj") or 0)
    config["annotations"].update({k: str(v) for k, v in (service.get("annotations") or {}).items()})
    return config


def _apply(config: OciConfig, options: Security, default_profile: str) -> None:
    """``security_opt``, but for what `default_oci` and the seccomp program take of it."""
    if options.unconfined_paths:
        config["linux"].update(maskedPaths=[], readonlyPaths=[])
    if options.writable_cgroups:
        for mount in config["mounts"]:
            if mount["type"] == "cgroup":
                mount["options"] = ["rw" if word == "ro" else word for word in mount["options"]]
    profile = _profile(options.apparmor, default_profile)
    if profile and has_apparmor():
        config["process"]["apparmorProfile"] = profile
    if options.selinux and has_selinux():
        config["process"]["selinuxLabel"] = options.selinux


def _profile(asked: str, default: str) -> str:
    """The AppArmor profile; Docker's own is ours where Docker has not loaded it."""
    own = asked == apparmor.DOCKERS and default and not apparmor.is_loaded(asked)
    return default if own or not asked else asked


def _mounts(attached: Attached) -> list[dict[str, Any]]:
    """Everything that is mounted, what lies above first: nothing covers what was mounted before it.

    What the user mounts takes the place of the files that we write; of these the last one counts.
    """
    found = [*attached.mounts.oci]
    for use in attached.mounts.volumes:
        options = ["rbind", "rprivate", *(["rro"] if use.read_only else [])]
        directory = attached.volume_directories[use.name]
        found.append(bind_mount(directory, use.target, options, subpath=use.subpath))
    taken = {mount["destination"] for mount in found}
    for file in {file.target: file for file in attached.written if file.target not in taken}.values():
        options = ["rbind", "rprivate", *(["rro"] if file.read_only else [])]
        found.append(bind_mount(file.source, file.target, options))
    return sorted(found, key=lambda mount: str(mount["destination"]).count("/"))
