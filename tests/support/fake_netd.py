"""A stand-in for netd: says who it is to everybody who connects to a listener that it was given."""

from __future__ import annotations

import os
import select
import socket

from compose.linux import sockets


def main(
    control: int, descriptors: dict[str, list[int]], project: str, run_dir: str, *, give_back: object
) -> None:
    """As `compose.network.netd.process.main`; ends when the keeper does."""
    channel = sockets.adopt(control)
    held = {name: [socket.socket(fileno=number) for number in fds] for name, fds in descriptors.items()}
    while True:
        listeners = [sock for name, socks in held.items() if name.startswith("listen/") for sock in socks]
        waiting: list[object] = [channel.fileno(), *listeners]
        ready: list[object] = select.select(waiting, [], [])[0]  # type: ignore[type-var]
        for sock in listeners:
            if sock in ready:
                connection, _address = sock.accept()
                connection.sendall(f"{os.getpid()} {project}".encode())
                connection.close()
        if channel.fileno() in ready:
            packet, received = sockets.receive(channel)
            if not packet:
                return
            verb, _, name = packet.decode().partition(" ")
            for sock in held.pop(name, []):
                sock.close()
            if verb == "put":
                held[name] = [socket.socket(fileno=number) for number in received]
