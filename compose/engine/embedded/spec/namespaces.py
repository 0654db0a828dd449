"""Which namespaces a container has to itself, and which are the host's or another container's."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ContainerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

KINDS = {"network_mode": "network", "pid": "pid", "ipc": "ipc"}
"""The keys that take ``service:NAME`` and ``container:NAME``, and what is shared then."""

_NETWORK_IS_THE_OWNERS = (
    "ports",
    "expose",
    "hostname",
    "mac_address",
    "links",
    "dns",
    "extra_hosts",
)
"""What docker refuses beside a network that is another container's."""


_NOT_IN_THE_HOSTS = ("mac_address", "links", "external_links")


class Share(NamedTuple):
    """One namespace that is another container's; one of `service` and `container` is empty."""

    key: str
    kind: str
    service: str
    container: str
    """Name or id."""


def shares(service: Mapping[str, Any]) -> list[Share]:
    """The namespaces that are other containers'."""
    found = []
    for key, kind in KINDS.items():
        word, colon, name = str(service.get(key) or "").partition(":")
        if colon and word == "service":
            found.append(Share(key, kind, name, ""))
        elif colon and word == "container":
            found.append(Share(key, kind, "", name))
    return found


def mode(service: Mapping[str, Any], key: str) -> str:
    """ "" for a namespace of its own, "host", "shared", and for ``ipc`` also "none"."""
    value = str(service.get(key) or "")
    if ":" in value:
        return "shared"
    return "" if value in ("private", "shareable") else value


def has_own_network(service: Mapping[str, Any]) -> bool:
    """Whether a network namespace is made for the container."""
    return mode(service, "network_mode") not in ("host", "shared")


def check_modes(service: Mapping[str, Any]) -> None:
    """Refuse values that mean nothing; raises `ContainerError`."""
    known = {"pid": ("host",), "ipc": ("host", "private", "shareable", "none"), "uts": ("host",)}
    known["cgroup"] = ("host", "private")
    for key, words in known.items():
        value = str(service.get(key) or "")
        word, colon, name = value.partition(":")
        shared = key in KINDS and colon and name and word in ("service", "container")
        if value and value not in words and not shared:
            also = ", service:NAME or container:NAME" if key in KINDS else ""
            raise ContainerError(f"{key}: there is no mode {value}", hint=f"write {', '.join(words)}{also}")
    if service.get("userns_mode") not in (None, "", "host"):
        raise ContainerError(
            f"userns_mode: there is no mode {service['userns_mode']}: all containers have the user namespace"
            " that pycompose runs in",
            hint="remove it, or write host",
        )


def check_conflicts(service: Mapping[str, Any]) -> None:
    """Refuse what would change another's namespace, as docker does; raises `ContainerError`."""
    network = mode(service, "network_mode")
    if network == "shared":
        _refuse(service, _NETWORK_IS_THE_OWNERS, f"the network is that of {service['network_mode']}")
    if network == "host":
        _refuse(service, _NOT_IN_THE_HOSTS, "the network is that of the host")
    if mode(service, "uts") == "host":
        for key in ("hostname", "domainname"):
            if service.get(key):
                raise ContainerError(f"{key}: would be that of the host", hint="remove it, or 'uts: host'")


def _refuse(service: Mapping[str, Any], keys: Sequence[str], why: str) -> None:
    for key in keys:
        if service.get(key):
            elsewhere = "remove it" if why.endswith("the host") else "say it there, and remove it here"
            raise ContainerError(f"{key}: {why}", hint=elsewhere)


def useless(service: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Keys that have no effect beside the service's ``network_mode``, and why; docker compose warns or says
    nothing."""
    network = mode(service, "network_mode")
    if network == "host":
        keys, why = ["ports"], "has no effect: what the program listens on is the host's already"
    elif network == "none":
        keys, why = ["ports", "links", "external_links", "mac_address"], "has no effect: there is no network"
    elif network == "shared":
        keys = ["dns_search", "dns_opt"]
        why = f"has no effect: /etc/resolv.conf is that of {service['network_mode']}"
    else:
        return []
    return [(key, f"{key}: {why}") for key in keys if service.get(key)]
