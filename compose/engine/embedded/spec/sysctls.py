"""``sysctls``: only what a container's own namespaces have; everything else belongs to the whole machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ContainerError
from compose.runtime.container.sysctls import dotted, is_plain, namespace_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def of_container(service: Mapping[str, Any]) -> dict[str, str]:
    """Those that are set when the container starts. Raises `ContainerError`."""
    return {key: value for key, value in _checked(service).items() if not key.startswith("net.")}


def of_network(service: Mapping[str, Any]) -> dict[str, str]:
    """Those of its network namespace, which are set as soon as there is one. Raises `ContainerError`."""
    return {key: value for key, value in _checked(service).items() if key.startswith("net.")}


def _checked(service: Mapping[str, Any]) -> dict[str, str]:
    found = {dotted(key): str(value) for key, value in (service.get("sysctls") or {}).items()}
    for key in found:
        of_host = _host_key(key, service)
        if of_host:
            raise ContainerError(
                f"sysctls: {key} would be that of the host", hint=f"remove it, or '{of_host}: host'"
            )
        if not namespace_of(key) or not is_plain(key):
            raise ContainerError(
                f"sysctls: {key} belongs to the whole machine, not to a container",
                hint=f"set it on the host: sysctl -w {key}={found[key]}",
            )
    return found


def _host_key(key: str, service: Mapping[str, Any]) -> str:
    """Which key makes a sysctl one of the host's; "" for none."""
    namespace = {"network": "network_mode", "uts": "uts"}.get(namespace_of(key), "ipc")
    return namespace if service.get(namespace) == "host" else ""
