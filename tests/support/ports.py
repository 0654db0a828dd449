"""Ports of this machine for tests that let go of one and want it again."""

from __future__ import annotations

import random
import socket

_LOWEST, _TRIES = 20_000, 1000
_random = random.SystemRandom()


def quiet_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of 127.0.0.1 that nobody has, and that nobody gets who asks for any: not one of those that the
    kernel gives to connections (ip_local_port_range)."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first = int(file.read().split()[0])
    for _ in range(_TRIES):
        port = _random.randrange(min(_LOWEST, first - 1000), first)
        with socket.socket(socket.AF_INET, kind) as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")
