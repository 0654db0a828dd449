"""A bundle's config.json: read, checked, and brought into the form that the launcher takes.

What we cannot do is refused with the key's name; properties that no specification knows are ignored, as it
demands.
"""

from __future__ import annotations

import os

from compose.errors import ContainerError
from compose.oci import shape
from compose.runtime import cgroups
from compose.runtime.container import capabilities, seccomp, sysctls
from compose.runtime.container.oci import device_rules
from compose.runtime.container.setup import NAMESPACES
from compose.state import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from compose.runtime.spec import OciConfig, Process

VERSION = "1.2.0"
_LARGEST = 16 << 20
_PROPAGATIONS = ("", "private", "rprivate", "slave", "rslave")
_FLAGS = ("SECCOMP_FILTER_FLAG_TSYNC",)
"""Those without effect on a process of one thread."""
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def read(bundle: str) -> OciConfig:
    """The checked configuration of a bundle; raises `ContainerError`."""
    path = f"{bundle}/config.json"
    value = read_object(path)
    try:
        return _checked(shape.checked(value, shape.CONFIG, ""), bundle)
    except ContainerError as error:
        raise ContainerError(f"{path}: {error.message}", hint=error.hint) from None


def read_object(path: str) -> dict[str, Any]:
    """A JSON object in a file; raises `ContainerError`."""
    try:
        if os.stat(path).st_size > _LARGEST:
            raise ContainerError(f"{path}: too large")
        value = files.read_json(path)
    except OSError as error:
        raise ContainerError(f"{path}: {error.strerror}", hint="--bundle names its directory") from None
    except (ValueError, RecursionError) as error:
        raise ContainerError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise ContainerError(f"{path}: not an object")
    return value


def _checked(value: dict[str, Any], bundle: str) -> OciConfig:
    version = str(value["ociVersion"])
    if version.partition(".")[0] != "1":
        raise ContainerError(f"ociVersion {version}: this runtime follows {VERSION}")
    for other in ("windows", "solaris", "vm", "zos"):
        if value.get(other):
            raise ContainerError(f"{other}: this is a runtime for Linux")
    check_process(value["process"])
    root = value["root"]
    config: OciConfig = {**value}  # type: ignore[typeddict-item]
    config["root"] = {**root, "path": os.path.realpath(os.path.join(bundle, root["path"]))}
    if not os.path.isdir(config["root"]["path"]):
        raise ContainerError(f"root.path: {config['root']['path']}: no such directory")
    config["mounts"] = [_mount(mount, bundle) for mount in value.get("mounts") or ()]
    config["linux"] = _linux(value.get("linux") or {})
    _check_own_namespaces(value)
    _check_hooks(value.get("hooks") or {})
    return config


def check_process(process: dict[str, Any]) -> Process:
    """Refuse what a process cannot be; raises `ContainerError`."""
    args, cwd = process.get("args"), process.get("cwd")
    if not args:
        raise ContainerError("process.args: a program is needed")
    if not cwd or not cwd.startswith("/"):
        raise ContainerError(f"process.cwd: {cwd}: not an absolute path")
    for key in ("ioPriority", "scheduler", "execCPUAffinity"):
        if process.get(key):
            raise ContainerError(f"process.{key}: not supported")
    return process  # type: ignore[return-value]


def _mount(mount: dict[str, Any], bundle: str) -> dict[str, Any]:
    """A mount with an absolute source, if it has one."""
    destination = str(mount["destination"])
    for key in ("uidMappings", "gidMappings"):
        if mount.get(key):
            raise ContainerError(f"mounts: {destination}: {key}: not supported")
    words = list(mount.get("options") or ())
    # Copying what lies under a tmpfs is something that others add to the specification.
    words = [word for word in words if word not in ("tmpcopyup", "notmpcopyup")]
    found = {**mount, "destination": "/" + destination.lstrip("/"), "options": words}
    if "bind" in words or "rbind" in words or mount.get("type") == "bind":
        if not mount.get("source"):
            raise ContainerError(f"mounts: {destination}: a bind mount needs a source")
        found["source"] = os.path.join(bundle, str(mount["source"]))
    return found


def _linux(linux: dict[str, Any]) -> dict[str, Any]:
    for key in ("uidMappings", "gidMappings"):
        if linux.get(key):
            raise ContainerError(f"linux.{key}: user namespaces are not supported")
    for key in ("intelRdt", "timeOffsets", "personality", "mountLabel", "memoryPolicy", "netDevices"):
        if linux.get(key):
            raise ContainerError(f"linux.{key}: not supported")
    if linux.get("rootfsPropagation", "") not in _PROPAGATIONS:
        raise ContainerError(f"linux.rootfsPropagation: {linux['rootfsPropagation']}: not supported")
    seen = set()
    for entry in linux.get("namespaces") or ():
        kind = entry["type"]
        if kind not in NAMESPACES:
            raise ContainerError(f"linux.namespaces: {kind}: no such namespace")
        if kind in ("user", "time"):
            raise ContainerError(f"linux.namespaces: {kind}: not supported")
        if kind in seen:
            raise ContainerError(f"linux.namespaces: {kind}: named twice")
        seen.add(kind)
    if "mount" not in seen:
        raise ContainerError("linux.namespaces: a container needs a mount namespace of its own")
    resources = linux.get("resources") or {}
    _check_resources(resources)
    rules = resources.get("devices")
    if not rules:
        return linux
    # The devices that every container has (config-linux.md, default devices) are not forbidden by "deny all".
    rules = [*rules, *device_rules()[1:]]
    return {**linux, "resources": {**linux["resources"], "devices": rules}}


def read_resources(path: str) -> dict[str, Any]:
    """The checked resources in a file, standard input if it is called ``-``; raises `ContainerError`."""
    value = read_object("/dev/stdin" if path == "-" else path)
    resources: dict[str, Any] = shape.checked(value, shape.RESOURCES, "resources")
    _check_resources(resources)
    return resources


def _check_resources(resources: dict[str, Any]) -> None:
    for key in ("network", "rdma"):
        if resources.get(key):
            raise ContainerError(f"linux.resources.{key}: not supported")
    if resources.get("unified") and cgroups.version() == 1:
        raise ContainerError("linux.resources.unified: this host has version 1 of control groups")
    for file in resources.get("unified") or ():
        if "/" in file or "." not in file.strip("."):
            raise ContainerError(f"linux.resources.unified: {file}: not the name of a control file")


def _check_own_namespaces(config: dict[str, Any]) -> None:
    """Refuse what would change the host: its names and its kernel settings."""
    linux = config.get("linux") or {}
    own = {entry["type"] for entry in linux.get("namespaces") or () if not _is_ours(entry)}
    for key in ("hostname", "domainname"):
        if config.get(key) and "uts" not in own:
            raise ContainerError(f"{key}: would be that of the host: there is no uts namespace of its own")
    for key in linux.get("sysctl") or {}:
        name = sysctls.dotted(key)
        namespace = sysctls.namespace_of(name)
        if not namespace or not sysctls.is_plain(name):
            raise ContainerError(f"linux.sysctl: {key} belongs to the whole machine, not to a container")
        if namespace not in own:
            text = f"linux.sysctl: {key} would be that of the host: there is no own {namespace} namespace"
            raise ContainerError(text)


def _is_ours(namespace: dict[str, Any]) -> bool:
    """Whether a namespace by path is that of the caller."""
    path = namespace.get("path")
    if not path:
        return False
    kind = "net" if namespace["type"] == "network" else namespace["type"]
    try:
        return os.path.samefile(path, f"/proc/self/ns/{kind}")
    except OSError:
        return False  # which is said when it cannot be opened


def _check_hooks(hooks: dict[str, list[dict[str, Any]]]) -> None:
    for kind in _HOOKS:
        for hook in hooks.get(kind) or ():
            if not str(hook["path"]).startswith("/"):
                raise ContainerError(f"hooks.{kind}: {hook['path']}: not an absolute path")


def seccomp_program(config: OciConfig, names: list[str]) -> bytes:
    """The compiled filter of ``linux.seccomp``; empty when there is none. Raises `ContainerError`."""
    profile = (config.get("linux") or {}).get("seccomp")
    if not profile:
        return b""
    for key in ("listenerPath", "listenerMetadata"):
        if profile.get(key):
            raise ContainerError(f"linux.seccomp.{key}: not supported")
    for flag in profile.get("flags") or ():
        if flag not in _FLAGS:
            raise ContainerError(f"linux.seccomp.flags: {flag}: not supported")
    seccomp.check_architectures(profile.get("architectures") or ())
    return seccomp.of_profile(profile, names)


def without_unknown_capabilities(process: Process, warn: Callable[[str], None]) -> Process:
    """The process without capabilities that nobody here knows, with a warning for each: by the specification
    a container must not fail for them."""
    wanted = process.get("capabilities") or {}
    unknown = {name for names in wanted.values() for name in names if not capabilities.is_known(name)}
    for name in sorted(unknown):
        warn(f"process.capabilities: {name} is not known, ignored")
    known = {key: [name for name in names if name not in unknown] for key, names in wanted.items()}
    return {**process, "capabilities": known} if unknown else process


def bounding_set(config: OciConfig) -> list[str]:
    """The names of the capabilities that the container can ever have."""
    return (config["process"].get("capabilities") or {}).get("bounding") or []
