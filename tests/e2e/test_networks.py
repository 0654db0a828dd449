"""Services find each other by name, in the networks that they share and in no other."""

from __future__ import annotations

import contextlib
import os
import socket
import urllib.request
from typing import TYPE_CHECKING

from tests.support.patience import MOMENT
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.support.command import Stack

NETWORKS = int(os.environ.get("PYCOMPOSE_TEST_NETWORKS", "20"))

THREE = """
services:
  web: {image: IMAGE, command: [sleep, infinity], networks: [front]}
  app:
    image: IMAGE
    command: [sleep, infinity]
    networks:
      front: {}
      back: {aliases: [application]}
  db: {image: IMAGE, command: [sleep, infinity], networks: [back]}
networks: {front: {}, back: {internal: true}}
"""


def test_a_name_resolves_in_the_networks_that_two_share(stack: Stack) -> None:
    stack.write(THREE)
    stack.up()
    for service, name in (("web", "app"), ("app", "web"), ("app", "db"), ("db", "application")):
        assert stack.shell(service, f"ping -c 1 -W 5 {name} >/dev/null && echo reached") == "reached"
    assert stack.try_run("exec", "-T", "web", "nslookup", "db").code != 0
    assert stack.shell("db", f"ping -c 1 -W 5 {stack.name}-app-1 >/dev/null && echo reached") == "reached"


def test_a_name_still_resolves_after_its_container_was_recreated(stack: Stack) -> None:
    stack.write(THREE)
    stack.up()
    before = stack.shell("web", "nslookup app | tail -n 2")
    stack.up("--force-recreate", "app")
    assert stack.shell("web", "nslookup app | tail -n 2") == before
    assert stack.shell("web", "ping -c 1 -W 5 app >/dev/null && echo reached") == "reached"


def test_a_container_sees_the_address_of_its_client(stack: Stack) -> None:
    """Loopback clients appear as the network's gateway, for their own address means nothing inside."""
    port = free_port()
    stack.write("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'; echo $REMOTE_ADDR\n", "who")
    (stack.directory / "who").chmod(0o755)
    stack.write(f"""
services:
  web:
    image: IMAGE
    command: [httpd, -f, -p, "80", -h, /www]
    volumes: ["./who:/www/cgi-bin/who:ro"]
    ports: ["{port}:80"]
    healthcheck: {{test: netstat -tln | grep -q ':80 ', interval: 1s, retries: 300}}
""")
    stack.run("up", "--wait")
    gateway = stack.shell("web", "ip route | sed -n 's/default via \\([0-9.]*\\).*/\\1/p'")
    for host in ("127.0.0.1", "[::1]"):
        with urllib.request.urlopen(f"http://{host}:{port}/cgi-bin/who", timeout=MOMENT) as answer:
            assert answer.read().decode().strip() in (gateway, f"[::ffff:{gateway}]")


def test_a_refused_connection_inside_is_a_reset_outside(stack: Stack) -> None:
    port = free_port()
    stack.write(f"""
services:
  web: {{image: IMAGE, command: [sleep, infinity], ports: ["127.0.0.1:{port}:80"]}}
""")
    stack.up()
    with (
        contextlib.suppress(ConnectionResetError),
        socket.create_connection(("127.0.0.1", port), MOMENT) as client,
    ):
        assert client.recv(1) == b""


def test_two_projects_do_not_see_each_other(stack: Stack) -> None:
    stack.write(THREE)
    stack.up()
    try:
        stack.run("-p", f"{stack.name}-other", "up", "-d")
        assert len(stack.ps()) == 3
        there = stack.run("-p", f"{stack.name}-other", "exec", "-T", "web", "nslookup", "app")
        assert there != stack.run("exec", "-T", "web", "nslookup", "app")
    finally:
        stack.run("-p", f"{stack.name}-other", "down", "-v", "-t", "0")
    assert len(stack.ps()) == 3


def test_a_network_whose_configuration_changed_is_replaced(stack: Stack) -> None:
    text = """
services:
  app: {image: IMAGE, command: [sleep, infinity], networks: [inner]}
networks: {inner: {}}
"""
    stack.write(text)
    stack.up()
    assert "default via" in stack.shell("app", "ip route")
    stack.write(text.replace("inner: {}", "inner: {internal: true}"))
    stack.up("-t", "0")
    assert "default" not in stack.shell("app", "ip route")
    stack.write(text.replace("inner: {}", "inner: {ipam: {config: [{subnet: 10.213.7.0/24}]}}"))
    stack.up("-t", "0", "--scale", "app=2")
    assert "10.213.7." in stack.shell("app", "ip -4 -o addr show eth0")
    assert stack.shell("app", "ping -c 1 -W 5 app >/dev/null && echo reached") == "reached"
    assert "nothing to do" in stack.run("up", "--dry-run", "--scale", "app=2")


def test_a_project_may_have_hundreds_of_networks_and_a_container_be_in_all(stack: Stack) -> None:
    """As many as ``PYCOMPOSE_TEST_NETWORKS`` says."""
    names = [f"n{number}" for number in range(NETWORKS)]
    everywhere = ", ".join(names)
    declared = "\n".join(f"  {name}: {{}}" for name in names)
    stack.write(f"""
services:
  all: {{image: IMAGE, command: sleep 1000, networks: [{everywhere}]}}
  one: {{image: IMAGE, command: sleep 1000, networks: [{names[0]}, {names[-1]}]}}
networks:
{declared}
""")
    stack.up()
    assert stack.shell("all", "ls /sys/class/net | grep -c eth") == str(NETWORKS)
    assert stack.shell("one", "ping -c 1 -W 5 all >/dev/null && echo reached") == "reached"
    # an address of the last network answers by that network
    last = stack.shell("all", f"ip -4 addr show eth{order(NETWORKS)[-1]}").split("inet ")[1].split("/")[0]
    assert stack.shell("one", f"ping -c 1 -W 5 {last} >/dev/null && echo reached") == "reached"
    said = stack.run("down", "-t", "0")
    assert "Error" not in said


def order(count: int) -> list[int]:
    """The number of the interface in each network: they are numbered by the networks' names."""
    names = sorted(f"n{number}" for number in range(count))
    return [names.index(f"n{number}") for number in range(count)]
