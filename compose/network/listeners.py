"""Publishing ports: bind every listener of a command, or none and say who is in the way.

For the engine, before anything is created. The sockets then go to the keeper under `Listener.name`
(network/netd/process.py) and are closed here.

    published   target    what is bound (Compose specification, 05-services, ports)
    (empty)     80        a spare port, the same for IPv4 and IPv6
    (empty)     80-82     a spare port each
    8080        80        8080
    8080-8082   80-82     in pairs
    8080-8090   80        the first of them that is free
    8080        80-82     an error

Without `host_ip` a port is bound for IPv4 and IPv6, as far as the kernel has IPv6.
"""

from __future__ import annotations

import _socket
import errno
import os

from compose.errors import NetworkError
from compose.state.files import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Listener", "Port", "bind_listeners", "close_all", "helper_of", "holder"]

_TRIES = 50  # spare ports that are free for IPv4 but not for IPv6
_BACKLOG = 4096
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
_LISTENING = "0A"


class Port:
    """One entry of a service's `ports`, for one container.

    `owner` says in messages whose it is; `target` and `published` are port numbers or ranges as text. What
    comes in by IPv6 goes to `target_ip6`, if there is one. `sandbox` is the project in whose namespace these
    addresses are; empty: the container's own project.
    """

    __slots__ = (
        "container",
        "host_ip",
        "owner",
        "protocol",
        "published",
        "sandbox",
        "target",
        "target_ip",
        "target_ip6",
    )

    def __init__(
        self,
        container: str,
        target_ip: str,
        target: str,
        *,
        published: str = "",
        host_ip: str = "",
        protocol: str = "tcp",
        owner: str = "",
        target_ip6: str = "",
        sandbox: str = "",
    ) -> None:
        self.container = container
        self.target_ip6 = target_ip6
        self.sandbox = sandbox
        self.target_ip = target_ip
        self.target = target
        self.published = published
        self.host_ip = host_ip.strip("[]")
        self.protocol = protocol
        self.owner = owner

    @classmethod
    def of(
        cls,
        container: str,
        target_ip: str,
        port: Mapping[str, object],
        *,
        owner: str = "",
        target_ip6: str = "",
        sandbox: str = "",
    ) -> Port:
        """From the canonical form of the model: `target`, `published`, `host_ip`, `protocol`."""
        published = port.get("published")
        return cls(
            container,
            target_ip,
            str(port["target"]),
            published="" if published in (None, 0, "0") else str(published),
            host_ip=str(port.get("host_ip") or ""),
            protocol=str(port.get("protocol") or "tcp"),
            owner=owner,
            target_ip6=target_ip6,
            sandbox=sandbox,
        )


class Listener:
    """One bound socket and what it is for; `close` when the keeper has it."""

    __slots__ = (
        "container",
        "host_ip",
        "host_port",
        "owner",
        "protocol",
        "sandbox",
        "socket",
        "target",
        "target_ip",
    )

    def __init__(self, port: Port, target: int, host_ip: str, host_port: int, sock: _socket.socket) -> None:
        self.container = port.container
        self.owner = port.owner
        self.protocol = port.protocol
        self.host_ip = host_ip
        self.host_port = host_port
        self.target_ip = port.target_ip6 if ":" in host_ip and port.target_ip6 else port.target_ip
        self.sandbox = port.sandbox
        self.target = target
        self.socket = sock

    @property
    def name(self) -> str:
        """The descriptor's name in the keeper."""
        end = f"{self.host_ip}/{self.host_port}/{self.target_ip}/{self.target}"
        where = f"/{self.sandbox}" if self.sandbox else ""
        return f"listen/{self.container}/{self.protocol}/{end}{where}"

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()


def bind_listeners(ports: Iterable[Port]) -> list[Listener]:
    """Bind all of these ports; raises `NetworkError` and leaves nothing bound when one cannot be had.

    Fixed ports come first, so that a spare one or one of a range never takes a port that another asks for.
    The order of the result is that of `ports`.
    """
    given = [*ports]
    made: list[Listener] = []
    order: dict[int, int] = {}
    try:
        for index in sorted(range(len(given)), key=lambda index: _freedom(given[index])):
            for listener in _bind_port(given[index], made):
                order[id(listener)] = index
                made.append(listener)
    except BaseException:
        close_all(made)
        raise
    return sorted(made, key=lambda listener: order[id(listener)])


def close_all(listeners: Iterable[Listener]) -> None:
    """Close these; the keeper's copies stay."""
    for listener in listeners:
        listener.close()


def _freedom(port: Port) -> int:
    if not port.published:
        return 2
    return 1 if "-" in port.published and "-" not in port.target else 0


def _numbers(text: str, what: str) -> list[int]:
    """The ports of ``80`` or ``80-82``."""
    first, dash, last = text.partition("-")
    try:
        low, high = int(first), int(last if dash else first)
    except ValueError:
        raise NetworkError(f"{what} {text!r} is neither a port nor a range of ports") from None
    if not 0 < low <= high < 65536:
        raise NetworkError(f"{what} {text!r} is not within 1 to 65535")
    return [*range(low, high + 1)]


def _bind_port(port: Port, before: Sequence[Listener]) -> list[Listener]:
    if port.protocol not in ("tcp", "udp"):
        raise NetworkError(
            f"{_whose(port)}: protocol {port.protocol} cannot be published", hint="use tcp or udp"
        )
    if port.host_ip and not _is_address(port.host_ip):
        raise NetworkError(f"{_whose(port)}: host_ip {port.host_ip!r} is not an IP address")
    targets = _numbers(port.target, f"{_whose(port)}: target")
    if not port.published:
        choices = [[0]] * len(targets)
    else:
        published = _numbers(port.published, f"{_whose(port)}: published")
        if len(published) == len(targets):
            choices = [[number] for number in published]
        elif len(targets) == 1:
            choices = [published]
        else:
            raise NetworkError(
                f"{_whose(port)}: {port.published} and {port.target} are ranges of different lengths"
            )
    made: list[Listener] = []
    try:
        for target, numbers in zip(targets, choices, strict=True):
            made += _first_free(port, target, numbers, [*before, *made])
    except BaseException:
        close_all(made)
        raise
    return made


def _is_address(text: str) -> bool:
    try:
        return bool(_socket.inet_pton(_socket.AF_INET6 if ":" in text else _socket.AF_INET, text))
    except (OSError, ValueError):
        return False


def _whose(port: Port) -> str:
    text = f"port {port.published or port.target}"
    return f"{port.owner}: {text}" if port.owner else text


def _first_free(
    port: Port, target: int, numbers: Sequence[int], before: Sequence[Listener]
) -> list[Listener]:
    for number in numbers:
        try:
            return _bind_both(port, target, number)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or number == numbers[-1]:
                raise _refused(port, number, error, before) from error
    raise AssertionError("a port has at least one number")


def _bind_both(port: Port, target: int, number: int) -> list[Listener]:
    """Bind one number for every address that it is published on; raises `OSError`."""
    if port.host_ip:
        return [_bind_one(port, target, port.host_ip, number)]
    for left in reversed(range(_TRIES)):
        first = _bind_one(port, target, "0.0.0.0", number)
        try:
            return [first, _bind_one(port, target, "::", first.host_port)]
        except OSError as error:
            if error.errno in _NO_FAMILY:
                return [first]
            first.close()
            if number or error.errno != errno.EADDRINUSE or not left:
                raise
    raise AssertionError


def _bind_one(port: Port, target: int, address: str, number: int) -> Listener:
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    kind = _socket.SOCK_DGRAM if port.protocol == "udp" else _socket.SOCK_STREAM
    sock = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        if family == _socket.AF_INET6:
            sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        if kind == _socket.SOCK_STREAM:
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.bind((address, number))
        if kind == _socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
        return Listener(port, target, address, sock.getsockname()[1], sock)
    except BaseException:
        sock.close()
        raise


def _refused(port: Port, number: int, error: OSError, before: Sequence[Listener]) -> NetworkError:
    """The error that the user sees, with the holder of the port."""
    what = f"publish port {port.host_ip + ':' if port.host_ip else ''}{number or port.target}/{port.protocol}"
    if port.owner:
        what = f"{port.owner}: {what}"
    if error.errno == errno.EADDRINUSE:
        for other in before:
            if (other.host_port, other.protocol) == (number, port.protocol):
                whose = f" of {other.owner}" if other.owner else ""
                return NetworkError(f"{what}: it is published twice, also for port {other.target}{whose}")
        found = holder(number, port.protocol)
        who, stop = "another process", "stop it"
        if found and (helper := helper_of(found[0])):
            who, stop = f"project {helper[1]}", f"pycompose -p {helper[1]} down"
        elif found:
            who, stop = f"{found[1]} (process {found[0]})", f"kill {found[0]}"
        return NetworkError(f"{what}: {who} has it already", hint=f"{stop}, or publish another port")
    if error.errno == errno.EADDRNOTAVAIL:
        return NetworkError(f"{what}: this machine has no address {port.host_ip}", hint="ip address")
    if error.errno == errno.EACCES:
        hint = f"sysctl net.ipv4.ip_unprivileged_port_start={number}"
        return NetworkError(f"{what}: ports below 1024 need privileges", hint=hint)
    reason = os.strerror(error.errno) if error.errno else str(error)
    return NetworkError(f"{what}: {reason}")


def holder(number: int, protocol: str = "tcp") -> tuple[int, str] | None:
    """Process number and name of whoever has this port of this machine; None when that is not to be seen."""
    inodes: set[str] = set()
    for table in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/thread-self/net/{table}") as file:
                next(file)
                for line in file:
                    words = line.split()
                    if int(words[1].rpartition(":")[2], 16) != number:
                        continue
                    if protocol == "udp" or words[3] == _LISTENING:
                        inodes.add(f"socket:[{words[9]}]")
        except (OSError, StopIteration):
            continue
    return _owner(inodes - {"socket:[0]"})


def _owner(inodes: set[str]) -> tuple[int, str] | None:
    if not inodes:
        return None
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        try:
            for descriptor in os.listdir(f"/proc/{process}/fd"):
                if os.readlink(f"/proc/{process}/fd/{descriptor}") in inodes:
                    with open(f"/proc/{process}/comm", errors="replace") as file:
                        return int(process), file.read().strip()
        except OSError:  # it has ended, or is not ours to look at
            continue
    return None


def helper_of(process: int) -> tuple[str, str] | None:
    """Run directory and project of a keeper, monitor or netd; None for any other process."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            arguments = file.read().rstrip(b"\0").split(b"\0")
        if not any(b"compose.runtime.supervision.keeper" in one for one in arguments):
            return None
        options = loads(arguments[-1])
        return str(options.get("run", "")), str(options["project"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
