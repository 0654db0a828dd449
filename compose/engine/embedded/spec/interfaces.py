"""What a service says about its interface in one network: its name, MAC, link-local addresses, sysctls."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from compose.errors import ContainerError
from compose.model.support import ENDPOINT_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Options = Mapping[str, Any]

_SYSCTLS, _IFNAME = ENDPOINT_OPTIONS
_PREFIXES = {4: 16, 6: 64}
_LONGEST_NAME = 15
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")


def interface_name(options: Options) -> str:
    """The name that was asked for, or ""."""
    return str(options.get("interface_name") or _driver_options(options).get(_IFNAME) or "")


def link_local(options: Options) -> list[str]:
    """``link_local_ips`` with their prefix lengths, as Docker has them."""
    addresses = map(ipaddress.ip_address, options.get("link_local_ips") or ())
    return [f"{address}/{_PREFIXES[address.version]}" for address in addresses]


def interface_sysctls(options: Options, interface: str) -> dict[str, str]:
    """What ``com.docker.network.endpoint.sysctls`` says, as paths below /proc/sys."""
    found = {}
    for entry in filter(None, _driver_options(options).get(_SYSCTLS, "").split(",")):
        key, _, value = entry.partition("=")
        found[key.strip().replace(".", "/").replace("/IFNAME/", f"/{interface}/")] = value.strip()
    return found


def _driver_options(options: Options) -> dict[str, str]:
    return {str(key): str(value) for key, value in (options.get("driver_opts") or {}).items()}


def check_interfaces(service: Mapping[str, Any]) -> None:
    """Refuse what no interface can have; raises `ContainerError`."""
    _check_mac("mac_address", service.get("mac_address"))
    names: dict[str, str] = {}
    for network, given in (service.get("networks") or {}).items():
        options: Options = given or {}
        _check_mac(f"networks.{network}.mac_address", options.get("mac_address"))
        _check_link_local(f"networks.{network}.link_local_ips", options)
        _check_sysctls(f"networks.{network}.driver_opts", options)
        name = interface_name(options)
        _check_name(f"networks.{network}.interface_name", name)
        if name and name in names:
            raise ContainerError(
                f"networks.{network}.interface_name: {name} is that of {names[name]} already",
                hint="choose another name",
            )
        names[name] = network


def _check_name(key: str, name: str) -> None:
    bad = len(name.encode()) > _LONGEST_NAME or name in (".", "..", "lo") or not name.isprintable()
    if name and (bad or set(name) & set("/: ")):
        raise ContainerError(
            f"{key}: {name} is no name for an interface",
            hint=f"write at most {_LONGEST_NAME} letters and digits",
        )


def _check_link_local(key: str, options: Options) -> None:
    for text in options.get("link_local_ips") or ():
        try:
            fits = ipaddress.ip_address(text).is_link_local
        except ValueError:
            fits = False
        if not fits:
            raise ContainerError(
                f"{key}: {text} is no link-local address", hint="write one of 169.254.0.0/16 or fe80::/64"
            )


def _check_sysctls(key: str, options: Options) -> None:
    for entry in filter(None, _driver_options(options).get(_SYSCTLS, "").split(",")):
        name, equals, value = entry.strip().partition("=")
        parts = name.split(".")
        right = (
            len(parts) == 5
            and (parts[0], parts[3]) == ("net", "IFNAME")
            and parts[1] in ("ipv4", "ipv6", "mpls")
            and parts[2] in ("conf", "neigh")
            and parts[4].replace("_", "").isalnum()
        )
        if not (right and equals and value):
            raise ContainerError(
                f"{key}: {entry.strip()} is no setting of an interface",
                hint="write net.ipv4.conf.IFNAME.log_martians=1, with the word IFNAME",
            )


def _check_mac(key: str, address: Any) -> None:
    if address is None:
        return
    parts = str(address).replace("-", ":").split(":")
    if [len(part) for part in parts] != [2] * 6 or not all(_HEXADECIMAL.issuperset(part) for part in parts):
        raise ContainerError(f"{key}: {address} is not an address", hint="write 02:42:ac:11:00:02")
    if int(parts[0], 16) & 1:
        raise ContainerError(f"{key}: {address} is a group address", hint="begin it with 02")
