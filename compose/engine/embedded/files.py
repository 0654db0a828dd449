"""The three files that we keep for every container: /etc/hostname, /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING

from compose.errors import ContainerError
from compose.runtime import records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.runtime.spec import ContainerSpec
    from compose.state.paths import Paths

_HOSTS = """127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""

NAMESERVER = "127.0.0.11"


def of_host(path: str) -> str:
    """The text of a file of the host; "" when it is not there."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def given(directory: str) -> list[tuple[str, str]]:
    """Source and target of the three files of the container that lies in `directory`."""
    return [(f"{directory}/files/{name}", f"/etc/{name}") for name in ("hostname", "hosts", "resolv.conf")]


def are_lost(paths: Paths, spec: ContainerSpec) -> bool:
    """Whether a power cut has left nothing in a file of a container that has not run since. Raises
    `StateError`.

    Only spec.json is synced when it is made: on some file systems the others may be there without content.
    """
    directory = paths.container(spec["id"])
    if all(_size(f"{directory}/{name}") for name in spec.get("filled") or ()):
        return False
    return records.recorded_state(paths, spec["id"]).get("boot_id") != records.boot_id()


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def hosts(
    hostname: str,
    domain: str,
    addresses: Sequence[str],
    extra: Sequence[str],
    gateway: str,
    *,
    first: str = "",
) -> str:
    """/etc/hosts: `first` or what Docker writes, ``extra_hosts``, then the container's own addresses.

    `extra` holds ``NAME=ADDRESS``; the address ``host-gateway`` means `gateway`.
    """
    _one_word("hostname", hostname)
    if domain:
        _one_word("domainname", domain)
    lines = [first.rstrip("\n") + "\n" if first else _HOSTS]
    full = f"{hostname}.{domain}" if domain else hostname
    names = f"{full} {full.partition('.')[0]}" if "." in full else full
    for entry in extra:
        name, _, address = entry.partition("=")
        _one_word("extra_hosts", name)
        if address == "host-gateway":
            if not gateway:
                raise ContainerError(
                    f"extra_hosts: {name}=host-gateway needs a network with a way to the host"
                )
            address = gateway
        address = address.strip("[]")
        _address(f"extra_hosts: {entry}", address, f"write '{name}=192.0.2.1' or '{name}=host-gateway'")
        lines.append(f"{address}\t{name}\n")
    lines += [f"{address}\t{names}\n" for address in addresses]
    return "".join(lines)


def _address(key: str, text: str, hint: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ContainerError(f"{key}: {text!r} is not an IP address", hint=hint) from None


def _one_word(key: str, word: str) -> None:
    """Refuse what would be more than one word, or line, of a file."""
    if not word or not word.isprintable() or " " in word or "#" in word:
        raise ContainerError(f"{key}: {word!r} is not a name", hint="write it without blanks and line breaks")


def resolv_conf(service: Mapping[str, Any], of_host: str, *, own_names: bool) -> str:
    """/etc/resolv.conf: our name service with ``ndots:0`` as Docker has it, or the host's own.

    Search domains are the host's unless ``dns_search`` says otherwise. ``dns`` stands here where there is no
    name service of ours.
    """
    search = service.get("dns_search")
    options = [str(option) for option in service.get("dns_opt") or ()]
    servers = [str(server) for server in service.get("dns") or ()]
    from_host = [line.split() for line in of_host.splitlines()]
    if search is None:
        search = [word for line in from_host if line[:1] == ["search"] for word in line[1:]]
    if own_names:
        servers = [NAMESERVER]
        if not any(option.startswith("ndots:") for option in options):
            options.append("ndots:0")
    elif not servers:
        servers = [line[1] for line in from_host if line[:1] == ["nameserver"] and len(line) > 1]
        options = options or [word for line in from_host if line[:1] == ["options"] for word in line[1:]]
    for key, words in (("dns_search", search), ("dns_opt", options), ("dns", servers)):
        for word in words:
            _one_word(key, word)
    for server in service.get("dns") or ():
        _address("dns", str(server), "write one such as 192.0.2.53")
    lines = [f"nameserver {server}\n" for server in servers]
    if search:
        lines.append(f"search {' '.join(search)}\n")
    if options:
        lines.append(f"options {' '.join(options)}\n")
    return "".join(lines)
