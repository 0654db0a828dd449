"""Names outside of the project: whom a container asks is told by ``dns``."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

from compose.linux.namespaces import CLONE_NEWNET, setns
from compose.network.netd import names
from tests.support.network_lab import in_thread

if TYPE_CHECKING:
    from tests.support.command import Stack

NEIGHBOUR = "10.231.77.53"
FILE = f"""
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    dns: [{NEIGHBOUR}]
  resolver:
    image: IMAGE
    command: [sleep, infinity]
    networks: {{default: {{ipv4_address: {NEIGHBOUR}}}}}
networks: {{default: {{ipam: {{config: [{{subnet: 10.231.77.0/24}}]}}}}}}
"""


def socket_in(path: str, address: str, port: int) -> socket.socket:
    """A datagram socket in the namespace that `path` pins."""

    def make() -> socket.socket:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        setns(descriptor, CLONE_NEWNET)
        os.close(descriptor)
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((address, port))
        return made

    return in_thread(make)


def answer(server: socket.socket) -> None:
    """Be the resolver until an empty datagram comes."""
    while True:
        message, client = server.recvfrom(4096)
        if not message:
            return
        question = names.parse(message)
        assert isinstance(question, names.Question)
        records = [names.address("203.0.113.7")] if question.kind == names.A else []
        server.sendto(names.reply(message, question, names.NO_ERROR, records), client)


def test_a_neighbour_can_be_the_resolver(stack: Stack) -> None:
    stack.write(FILE)
    stack.up()
    short = stack.ids()[f"{stack.name}-resolver-1"]
    (identity,) = (name for name in os.listdir(stack.paths.containers) if name.startswith(short))
    with socket_in(stack.paths.container_namespace(identity), NEIGHBOUR, 53) as server:
        thread = threading.Thread(target=answer, args=(server,), daemon=True)
        thread.start()
        said = stack.shell("web", "nslookup www.example.org")
        server.sendto(b"", server.getsockname())
        thread.join()
    assert "203.0.113.7" in said
    assert NEIGHBOUR in stack.shell("web", "nslookup resolver")
    assert "nameserver 127.0.0.11" in stack.shell("web", "cat /etc/resolv.conf")
