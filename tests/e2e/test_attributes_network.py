"""Keys about the network, beyond addresses and ports: names, hosts, links, resolvers, interfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.attribute_rows import Row, services, wrong

if TYPE_CHECKING:
    from tests.support.command import Stack

HOSTS = "grep -E '{}' /etc/hosts | tr '\\t' ' '"
RESOLV = "grep -E '{}' /etc/resolv.conf"

ROWS = [
    Row(
        "extra_hosts",
        "extra_hosts: ['a=192.0.2.1', 'b:192.0.2.2', 'c=[2001:db8::1]', 'd:2001:db8::2']",
        HOSTS.format("192.0.2|2001:db8"),
        "192.0.2.1 a\n192.0.2.2 b\n2001:db8::1 c\n2001:db8::2 d",
    ),
    Row("extra_hosts as a map", "extra_hosts: {a: 192.0.2.1}", HOSTS.format("192.0.2"), "192.0.2.1 a"),
    Row(
        "host-gateway",
        "extra_hosts: ['up=host-gateway']",
        "nslookup host.docker.internal | grep Address | tail -1 | grep -o '[0-9.]*$' > /a;"
        " grep up /etc/hosts | cut -f 1 | cmp - /a && echo same",
        "same",
    ),
    Row(
        "hostname and domainname",
        "hostname: name, domainname: example.org",
        "hostname; cat /proc/sys/kernel/domainname; echo $HOSTNAME",
        "name\nexample.org\nname",
    ),
    Row("dns", "dns: [192.0.2.53]", RESOLV.format("nameserver"), "nameserver 127.0.0.11"),
    Row("dns_search empty", "dns_search: ['.']", RESOLV.format("search"), "search ."),
    Row("dns_opt", "dns_opt: ['ndots:5', use-vc]", RESOLV.format("options"), "options ndots:5 use-vc"),
    Row(
        "links",
        "links: ['target:other', target]",
        "nslookup other >/dev/null && nslookup target >/dev/null; echo $?",
        "0",
    ),
    Row("no link", "depends_on: [target]", "nslookup other > /dev/null; echo $?", "1"),
    Row(
        "link_local_ips",
        "networks: {default: {link_local_ips: [169.254.8.8, 'fe80::88']}}",
        "ip -o addr show eth0 | grep -oE '169.254.8.8/16|fe80::88/64'",
        "169.254.8.8/16\nfe80::88/64",
    ),
    Row(
        "networks.driver_opts",
        "networks: {default: {driver_opts: {com.docker.network.endpoint.sysctls:"
        " 'net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0',"
        " com.docker.network.endpoint.ifname: lan0}}}",
        "cat /proc/sys/net/ipv4/conf/lan0/log_martians",
        "1",
    ),
    Row("interface_name", "networks: {default: {interface_name: wan0}}", "ls /sys/class/net", "lo\nwan0"),
    Row(
        "gw_priority and priority",
        "networks: {default: {priority: 5}, second: {gw_priority: 9}}",
        "ip route | grep -o 'default.*dev.*' | grep -o 'eth.'",
        "eth1",
    ),
    Row(
        "network_mode bridge",
        "network_mode: bridge",
        "nslookup target > /dev/null; echo $?; ls /sys/class/net",
        "0\neth0\nlo",
    ),
]

TOP = """
networks: {second: {}}
services:
  target: {image: IMAGE, command: [sleep, '1']}
"""


def test_every_key_has_its_effect(stack: Stack) -> None:
    stack.write(TOP + services(ROWS))
    said = stack.up()
    assert "warning" not in said
    assert wrong(stack, ROWS) == {}


def test_external_links(stack: Stack) -> None:
    stack.write("services:\n  db: {image: IMAGE, command: [sleep, '1000']}\n", "other.yaml")
    other = ("-p", f"{stack.name}-other", "-f", "other.yaml")
    network = f"networks: {{default: {{external: true, name: {stack.name}-other_default}}}}\n"
    links = f"external_links: ['{stack.name}-other-db-1:data']"
    web = f"services:\n  web: {{image: IMAGE, command: [sleep, '1000'], {links}}}\n"
    stack.write(web)
    try:
        stack.run(*other, "up", "-d", "--no-start")
        assert "is in none of its networks" in stack.fails("up", "-d")
        stack.write(network + web)
        stack.run(*other, "up", "-d")
        stack.up()
        address = stack.shell("web", "nslookup data | tail -2 | grep -o '[0-9.]*$'")
        assert address in stack.run(*other, "exec", "-T", "db", "ip", "-o", "-4", "addr", "show", "eth0")
        stack.run("down", "-t", "0")
    finally:
        stack.run(*other, "down", "-t", "0")
    stack.write(web)
    said = stack.fails("up", "-d")
    assert f"service web: external_links: there is no container {stack.name}-other-db-1" in said


def test_network_mode_names_a_network(stack: Stack) -> None:
    stack.write(
        "services:\n"
        "  a: {image: IMAGE, command: [sleep, '1000']}\n"
        f"  b: {{image: IMAGE, command: [sleep, '1000'], network_mode: {stack.name}_default}}\n"
    )
    stack.up()
    assert stack.shell("b", "nslookup a > /dev/null && echo found") == "found"
    stack.write("services:\n  a: {image: IMAGE, network_mode: nosuch}\n", "other.yaml")
    said = stack.fails("-p", f"{stack.name}-other", "-f", "other.yaml", "up", "-d")
    assert "network nosuch is declared as external, but there is none of that name" in said


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("networks: {default: {link_local_ips: [192.0.2.1]}}", "192.0.2.1 is no link-local address"),
        ("networks: {default: {interface_name: a/b}}", "a/b is no name for an interface"),
        ("networks: {default: {interface_name: x}, n: {interface_name: x}}", "x is that of default already"),
        (
            "networks: {default: {driver_opts: {com.docker.network.endpoint.sysctls: net.core.x=1}}}",
            "net.core.x=1 is no setting of an interface",
        ),
        ("networks: {default: {mac_address: '01:00:00:00:00:01'}}", "01:00:00:00:00:01 is a group address"),
        ("extra_hosts: ['a=nowhere']", "'nowhere' is not an IP address"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(stack: Stack, yaml: str, says: str) -> None:
    stack.write(f"networks: {{n: {{}}}}\nservices:\n  a:\n    image: IMAGE\n    {yaml}\n")
    said = stack.fails("up", "-d")
    assert said.startswith("pycompose: compose.yaml:5:") and "service a: " in said and says in said
    assert stack.ps("--all") == {}
