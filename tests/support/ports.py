"""Ports of the host for tests: those that nobody takes by chance, and what is said on them."""

from __future__ import annotations

import contextlib
import random
import socket
import time

from tests.support.patience import MOMENT

_given: set[int] = set()


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that is free, another one each time.

    None of those that the kernel gives to who connects from here: somebody could have it before the test.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        lowest, highest = map(int, file.read().split())
    every = range(10_000, 1 << 16)
    candidates = [port for port in every if not lowest <= port <= highest] or every
    while True:
        port = random.SystemRandom().choice(candidates)
        if port not in _given and _is_free(port, kind):
            _given.add(port)
            return port


def _is_free(port: int, kind: int) -> bool:
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with contextlib.suppress(OSError), socket.socket(family, kind) as made:
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                made.bind((address, port))
            except OSError:
                return False
    return True


def until_free(port: int) -> None:
    """Wait until nobody has a port of 127.0.0.1 any more."""
    deadline = time.monotonic() + MOMENT
    while True:
        try:
            socket.create_server(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"somebody still has port {port}"
        time.sleep(0.01)


def answer(port: int, request: bytes = b"", address: str = "127.0.0.1") -> bytes:
    """What is answered to a request, up to the end, as soon as somebody answers.

    A published port is there before the server behind it: until that listens, whoever connects is reset.
    """
    deadline = time.monotonic() + MOMENT
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(ConnectionResetError, BrokenPipeError),
            socket.create_connection((address, port), MOMENT) as connection,
        ):
            connection.sendall(request)
            if said := connection.makefile("rb").read():
                return said
        time.sleep(0.01)
    raise AssertionError(f"nobody answers on port {port}")
