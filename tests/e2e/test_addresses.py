"""Addresses and interfaces are what the file says, inside the container."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from tests.support.patience import MOMENT
from tests.support.ports import free_port

if TYPE_CHECKING:
    from tests.support.command import Stack

# The server's answer is the address that it sees as its client's.
WHO = "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'; echo $REMOTE_ADDR\n"


def server(port: int) -> str:
    return f"""
    image: IMAGE
    command: [httpd, -f, -p, "80", -h, /www]
    volumes: ["./who:/www/cgi-bin/who:ro"]
    ports: ["{port}:80"]
    healthcheck: {{test: netstat -tln | grep -q ':80 ', interval: 1s, retries: 300}}
"""


def ask(host: str, port: int) -> str:
    with urllib.request.urlopen(f"http://{host}:{port}/cgi-bin/who", timeout=MOMENT) as answer:
        return str(answer.read().decode().strip())


def test_ipv6_without_a_subnet(stack: Stack) -> None:
    port = free_port()
    stack.write(WHO, "who")
    (stack.directory / "who").chmod(0o755)
    stack.write(f"""
services:
  web: {server(port)}
  app: {{image: IMAGE, command: [sleep, infinity], healthcheck: {{test: "true"}}}}
networks: {{default: {{enable_ipv6: true}}}}
""")
    stack.run("up", "--wait")
    own = stack.shell("web", "ip -6 -o address show dev eth0 scope global | sed 's/.*inet6 //; s,/.*,,'")
    assert own.startswith("fd")
    assert own in stack.shell("web", "cat /etc/hosts")
    assert own in stack.shell("app", "nslookup -type=AAAA web")
    assert stack.shell("app", f"ping -6 -c 1 -W 5 {own} >/dev/null && echo reached") == "reached"
    gateway = stack.shell("web", "ip -6 route | sed -n 's/default via \\([0-9a-f:]*\\).*/\\1/p'")
    assert gateway.startswith("fd")
    assert gateway in ask("[::1]", port)
    assert ":" not in ask("127.0.0.1", port).removeprefix("[::ffff:")
    before = own
    stack.up("--force-recreate", "web")
    assert before in stack.shell("app", "nslookup -type=AAAA web")


RANGES = """
services:
  web: {image: IMAGE, command: [sleep, infinity], scale: 2}
  fixed:
    image: IMAGE
    command: [sleep, infinity]
    networks: {default: {ipv4_address: 10.231.78.7, ipv6_address: "fd00:231:78::7"}}
networks:
  default:
    enable_ipv6: true
    ipam:
      config:
      - {subnet: 10.231.78.0/24, ip_range: 10.231.78.128/25, gateway: 10.231.78.254,
         aux_addresses: {router: 10.231.78.129}}
      - {subnet: "fd00:231:78::/64", gateway: "fd00:231:78::ff", aux_addresses: {router: "fd00:231:78::1"}}
"""


def test_ranges_gateways_and_reserved_addresses(stack: Stack) -> None:
    stack.write(RANGES)
    assert "not supported" not in stack.up()
    both = "ip -o address show dev eth0 scope global | sed 's/.*inet6* //; s/ .*//' | sort"
    assert stack.shell("fixed", both).split() == ["10.231.78.7/24", "fd00:231:78::7/64"]
    addresses = [
        stack.run("exec", "-T", "--index", str(number), "web", "sh", "-c", both) for number in (1, 2)
    ]
    found = sorted(address for text in addresses for address in text.split())
    assert found[:2] == ["10.231.78.128/24", "10.231.78.130/24"]
    assert found[2:] == ["fd00:231:78::2/64", "fd00:231:78::3/64"]
    assert "via 10.231.78.254 " in stack.shell("fixed", "ip route")
    assert "via fd00:231:78::ff " in stack.shell("fixed", "ip -6 route")


INTERFACES = """
services:
  web:
    image: IMAGE
    command: [sleep, infinity]
    networks:
      a: {interface_name: first, priority: 10}
      b: {gw_priority: 1, mac_address: "02:42:00:00:00:99"}
      c: {priority: 100}
networks: {a: {}, b: {}, c: {}}
"""


def test_interfaces_their_order_names_and_routes(stack: Stack) -> None:
    stack.write(INTERFACES)
    assert "not supported" not in stack.up()
    interfaces = stack.shell("web", "ip -o address show scope global | awk '{print $2}' | sort").split()
    assert interfaces == ["eth0", "eth1", "first"]  # c, b, a
    assert "dev eth1" in stack.shell("web", "ip route show default")
    assert stack.shell("web", "cat /sys/class/net/eth1/address") == "02:42:00:00:00:99"
