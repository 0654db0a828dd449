"""``sysctls``: only what a container's own namespaces have; everything else belongs to the whole machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ContainerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# What the kernel keeps for each ipc and uts namespace (ipc_namespaces(7), uts_namespaces(7)); runc's list.
_OWN = frozenset(
    {
        "kernel.domainname",
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shm_rmid_forced",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
    }
)
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def of_container(service: Mapping[str, Any]) -> dict[str, str]:
    """Those that are set when the container starts. Raises `ContainerError`."""
    return {key: value for key, value in _checked(service).items() if not key.startswith("net.")}


def of_network(service: Mapping[str, Any]) -> dict[str, str]:
    """Those of its network namespace, which are set as soon as there is one. Raises `ContainerError`."""
    return {key: value for key, value in _checked(service).items() if key.startswith("net.")}


def _checked(service: Mapping[str, Any]) -> dict[str, str]:
    found = {_dotted(key): str(value) for key, value in (service.get("sysctls") or {}).items()}
    for key in found:
        of_host = _host_key(key, service)
        if of_host:
            raise ContainerError(
                f"sysctls: {key} would be that of the host", hint=f"remove it, or '{of_host}: host'"
            )
        own = key.startswith(("net.", "fs.mqueue.")) or key in _OWN
        if not own or not _CHARACTERS.issuperset(key):
            raise ContainerError(
                f"sysctls: {key} belongs to the whole machine, not to a container",
                hint=f"set it on the host: sysctl -w {key}={found[key]}",
            )
    return found


def _dotted(key: str) -> str:
    """A name as sysctl(8) takes it as well, with slashes and dots the other way round."""
    slash = key.find("/")
    swapped = slash >= 0 and "." not in key[:slash]
    return key.translate({ord("/"): ".", ord("."): "/"}) if swapped else key


def _host_key(key: str, service: Mapping[str, Any]) -> str:
    """Which key makes a sysctl one of the host's; "" for none."""
    if key.startswith("net."):
        namespace = "network_mode"
    else:
        namespace = "uts" if key == "kernel.domainname" else "ipc"
    return namespace if service.get(namespace) == "host" else ""
