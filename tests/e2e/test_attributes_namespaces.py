"""Namespaces that are the host's or another container's: ``network_mode``, ``pid``, ``ipc``, ``uts``, ..."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from compose.state.files import read_json
from tests.e2e.test_killed import killed_after

if TYPE_CHECKING:
    from tests.support.command import Stack

KINDS = ("net", "pid", "ipc", "uts", "cgroup", "mnt")
LOOK = "for n in net pid ipc uts cgroup mnt; do readlink /proc/self/ns/$n; done"


def namespaces(stack: Stack, service: str) -> dict[str, str]:
    """The namespaces of a service's container, by kind."""
    return dict(zip(KINDS, stack.shell(service, LOOK).splitlines(), strict=True))


def host() -> dict[str, str]:
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}


def same(first: dict[str, str], second: dict[str, str]) -> set[str]:
    """The kinds of namespaces that two have in common."""
    return {kind for kind in KINDS if first[kind] == second[kind]}


OF_THE_HOST = """
services:
  own: {image: IMAGE, command: [sleep, '1000'], cgroup: private, ipc: private, userns_mode: host}
  pid: {image: IMAGE, command: [sleep, '1000'], pid: host}
  ipc: {image: IMAGE, command: [sleep, '1000'], ipc: host}
  uts: {image: IMAGE, command: [sleep, '1000'], uts: host}
  cgroup: {image: IMAGE, command: [sleep, '1000'], cgroup: host}
  net: {image: IMAGE, command: [sleep, '1000'], network_mode: host}
  none: {image: IMAGE, command: [sleep, '1000'], ipc: none}
"""


def test_namespaces_of_the_host(stack: Stack) -> None:
    stack.write(OF_THE_HOST)
    assert "warning" not in stack.up()
    shared = {name: same(host(), namespaces(stack, name)) for name in ("pid", "ipc", "uts", "cgroup", "net")}
    assert shared == {kind: {kind} for kind in shared}
    assert same(host(), namespaces(stack, "own")) == set()
    name = socket.gethostname()
    for service in ("uts", "net"):
        assert stack.shell(service, "hostname; cat /etc/hostname").split() == [name, name]
    assert stack.shell("pid", "cat /proc/1/comm") == Path("/proc/1/comm").read_text().strip()
    assert stack.shell("none", "test -e /dev/shm || echo none") == "none"
    file = Path(f"/dev/shm/{stack.name}")
    file.touch()
    try:
        found = stack.shell("ipc", "ls /dev/shm")
    finally:
        file.unlink()
    assert stack.name in found.split()
    assert stack.shell("net", "cat /etc/hosts").strip() == Path("/etc/hosts").read_text().strip()


SHARED = """
services:
  owner:
    image: IMAGE
    command: [sleep, '1000']
    ipc: shareable
    hostname: theowner
    extra_hosts: ['db=192.0.2.7']
  guest:
    image: IMAGE
    command: [sleep, '1000']
    network_mode: service:owner
    pid: service:owner
    ipc: service:owner
    sysctls: {net.core.somaxconn: 77}
  third: {image: IMAGE, command: [sleep, '1000'], network_mode: service:guest, pid: service:guest}
"""


def test_namespaces_of_another_service(stack: Stack) -> None:
    stack.write(SHARED)
    plan = stack.run("up", "--dry-run")
    assert plan.index("start container " + stack.name + "-owner-1") < plan.index(
        "start container " + stack.name + "-guest-1"
    )
    assert "warning" not in stack.up()
    owner, guest, third = (namespaces(stack, name) for name in ("owner", "guest", "third"))
    assert same(owner, guest) == {"net", "pid", "ipc"}
    assert same(owner, third) == {"net", "pid"}
    stack.shell("owner", "echo shared > /dev/shm/file; echo 192.0.2.9 late >> /etc/hosts")
    assert stack.shell("guest", "cat /dev/shm/file; cat /proc/sys/net/core/somaxconn") == "shared\n77"
    assert "noexec" in stack.shell("guest", "grep ' /dev/shm ' /proc/mounts")
    for service in ("guest", "third"):
        assert stack.shell(service, "hostname; grep -c -e late -e 192.0.2.7 /etc/hosts") == "theowner\n2"
        assert stack.shell(service, "cat /etc/resolv.conf") == stack.shell("owner", "cat /etc/resolv.conf")
    assert stack.shell("guest", "ps | grep -c 'sleep 1000'") >= "3"


def test_recreation_of_the_owner_takes_its_guests_along(stack: Stack) -> None:
    stack.write(SHARED)
    stack.up()
    before = stack.ids()
    stack.write(SHARED.replace("theowner", "another"))
    plan = stack.run("up", "--dry-run")
    assert f"{stack.name}-owner-1, whose network namespace it shares, is recreated" in plan
    assert plan.index("stop container " + stack.name + "-guest-1") < plan.index(
        "create container " + stack.name + "-owner-1"
    )
    stack.up()
    after = stack.ids()
    assert before.keys() == after.keys() and not set(before.values()) & set(after.values())
    assert stack.shell("third", "hostname") == "another"
    # A killed `up` may have recreated only the owner: the next one sees it by the ids.
    stack.up("--force-recreate", "owner")
    assert stack.ids() != after
    plan = stack.run("up", "--dry-run")
    assert "the container whose network namespace it shares is gone" in plan
    stack.up()
    assert same(namespaces(stack, "owner"), namespaces(stack, "third")) == {"net", "pid"}


def test_guests_of_a_pid_namespace_end_with_it(stack: Stack) -> None:
    script = "[sh, -c, 'while [ ! -e /end ]; do sleep 0.05; done; rm /end']"
    stack.write(SHARED.replace("command: [sleep, '1000']", f"command: {script}\n    restart: always", 1))
    stack.up()
    stack.shell("owner", "touch /end")
    stack.run("logs", "-f", "guest", "third")  # until they have ended
    found = stack.ps("--all")
    assert {found[f"{stack.name}-{name}-1"]["ExitCode"] for name in ("guest", "third")} == {137}
    stack.up()
    assert same(namespaces(stack, "owner"), namespaces(stack, "third")) == {"net", "pid"}


OTHER = """
services:
  guest: {image: IMAGE, command: [sleep, '1000'], network_mode: 'container:OWNER', pid: 'container:OWNER'}
"""


def test_namespaces_of_a_container_of_another_project(stack: Stack) -> None:
    stack.write("services:\n  owner: {image: IMAGE, command: [sleep, '1000'], hostname: far}\n", "other.yaml")
    other = ("-p", f"{stack.name}-other", "-f", "other.yaml")
    stack.write(OTHER.replace("OWNER", f"{stack.name}-other-owner-1"))
    said = stack.fails("up", "-d")
    assert (
        f"compose.yaml:3:68: service guest: network_mode: there is no container {stack.name}-other-owner-1"
        in said
    )
    try:
        stack.run(*other, "up", "-d")
        stack.up()
        assert stack.shell("guest", "hostname; ip -o -4 addr show eth0 | wc -l") == "far\n1"
        stack.run("down", "-t", "0")
    finally:
        stack.run(*other, "down", "-t", "0")


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("network_mode: 'service:a', ports: ['80']", "ports: the network is that of service:a"),
        ("network_mode: 'service:a', hostname: x", "hostname: the network is that of service:a"),
        ("network_mode: host, links: [a]", "links: the network is that of the host"),
        ("network_mode: host, mac_address: '02:00:00:00:00:01'", "mac_address: the network is that of"),
        ("uts: host, hostname: x", "hostname: would be that of the host"),
        ("pid: private", "pid: there is no mode private"),
        ("uts: 'service:a'", "uts: there is no mode service:a"),
        ("userns_mode: keep-id", "userns_mode: there is no mode keep-id"),
        ("ipc: 'service:a'", "ipc: the ipc namespace of a is its own"),
        ("ipc: host, sysctls: {kernel.shmmni: 5}", "sysctls: kernel.shmmni would be that of the host"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_anything_is_made(stack: Stack, yaml: str, says: str) -> None:
    stack.write(f"services:\n  a: {{image: IMAGE}}\n  b:\n    {{image: IMAGE, {yaml}}}\n")
    said = stack.fails("up", "-d")
    assert "compose.yaml:4:" in said and f"service b: {says}" in said
    assert stack.ps("--all") == {}


def test_what_has_no_effect_is_said(stack: Stack) -> None:
    stack.write(
        "services:\n"
        "  a: {image: IMAGE, command: [sleep, '1000'], network_mode: host, ports: ['18765:80']}\n"
        "  b: {image: IMAGE, command: [sleep, '9'], network_mode: none, mac_address: '02:00:00:00:00:01'}\n"
    )
    said = stack.up()
    assert "service a: ports: has no effect: what the program listens on is the host's already" in said
    assert "service b: mac_address: has no effect: there is no network" in said


def test_helpers_that_die_take_no_namespace_with_them(stack: Stack) -> None:
    stack.write(SHARED)
    stack.up()
    before = {name: namespaces(stack, name) for name in ("owner", "guest", "third")}
    records = Path(stack.paths.containers)
    for state in [next(records.glob(f"{one}*/state.json")) for one in stack.ids().values()]:
        os.kill(int(read_json(str(state))["monitor_pid"]), signal.SIGKILL)
    stack.up()
    assert {name: namespaces(stack, name) for name in before} == before
    stack.run("restart", "-t", "0", "owner")
    after = namespaces(stack, "owner")
    assert same(after, namespaces(stack, "guest")) == {"net", "pid", "ipc"}
    assert after["net"] == before["owner"]["net"]
    os.kill(int(read_json(f"{stack.paths.project_run(stack.name)}/keeper.json")["pid"]), signal.SIGKILL)
    stack.run("restart", "-t", "0", "owner")
    assert same(namespaces(stack, "owner"), namespaces(stack, "third")) == {"net", "pid"}


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7, 0.9])
def test_a_recreation_that_is_killed_is_completed_by_the_next_up(stack: Stack, part: float) -> None:
    stack.write(SHARED)
    stack.up()
    begun = time.monotonic()
    stack.up("--force-recreate")
    seconds = time.monotonic() - begun
    killed_after(stack, part * seconds, "up", "-d", "--force-recreate")
    stack.up()
    owner, guest, third = (namespaces(stack, name) for name in ("owner", "guest", "third"))
    assert same(owner, guest) == {"net", "pid", "ipc"} and same(owner, third) == {"net", "pid"}
    assert "nothing to do" in stack.run("up", "--dry-run")


def test_a_container_of_the_project_itself_may_be_named(stack: Stack) -> None:
    stack.write(
        "services:\n"
        f"  app: {{image: IMAGE, command: [sleep, '1000'], network_mode: 'container:{stack.name}-vpn',"
        f" pid: 'container:{stack.name}-vpn', volumes_from: ['container:{stack.name}-vpn:ro']}}\n"
        f"  vpn: {{image: IMAGE, container_name: {stack.name}-vpn, command: [sleep, '1000'],"
        " volumes: [/lent]}\n"
        f"  web: {{image: IMAGE, command: [sleep, '1000'], ipc: 'container:{stack.name}-shm-1'}}\n"
        "  shm: {image: IMAGE, command: [sleep, '1000'], ipc: shareable}\n"
    )
    stack.up()
    assert same(namespaces(stack, "app"), namespaces(stack, "vpn")) == {"net", "pid"}
    assert same(namespaces(stack, "web"), namespaces(stack, "shm")) == {"ipc"}
    assert "Read-only" in stack.shell("app", "touch /lent/x 2>&1; true")
    before = stack.ids()
    stack.up()
    assert stack.ids() == before
    assert f"network_mode: container:{stack.name}-vpn" in stack.run("config")
