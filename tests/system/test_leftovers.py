"""The fixture that proves "nothing is left" finds what is left."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from compose.linux.namespaces import CLONE_NEWNET, setns, unshare
from tests.support import leftovers
from tests.support.leftovers import Machine, cgroup_roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Territory


def _left(machine: Machine, make: Callable[[], object]) -> str:
    """What `watch` says after `make`, with what was left removed."""
    machine.patience = 0.2
    with pytest.raises(AssertionError) as caught, machine.watch():
        kept = make()
    del kept
    return str(caught.value)


@pytest.fixture
def own_network() -> Iterator[None]:
    """A network namespace for the test: what it changes is nobody else's."""
    host = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        unshare(CLONE_NEWNET)
        yield
    finally:
        setns(host, CLONE_NEWNET)
        os.close(host)


@pytest.fixture
def machine(territory: Territory) -> Machine:
    return Machine((territory.data, territory.run, territory.temporary))


def test_a_test_that_leaves_nothing_passes(machine: Machine) -> None:
    with machine.watch():
        subprocess.run(["true"], check=True)


def test_an_orphan_in_a_session_of_its_own_is_found_and_ended(machine: Machine) -> None:
    script = "setsid sleep 987 </dev/null >/dev/null 2>&1 & echo $!"

    def orphan() -> None:
        subprocess.run(["sh", "-c", script], check=True, stdout=subprocess.DEVNULL)

    assert "sleep 987" in _left(machine, orphan)
    with machine.watch():
        pass
    assert not [text for thing, text in machine.look().items() if "sleep 987" in text]


def test_a_process_that_is_about_to_end_is_waited_for(machine: Machine) -> None:
    reader, writer = os.pipe()
    with machine.watch():
        with subprocess.Popen(["cat"], stdin=reader, stdout=subprocess.DEVNULL) as child:
            os.close(reader)
            os.close(writer)
        assert child.returncode == 0


def test_a_mount_is_found_and_removed(machine: Machine, tmp_path: Path) -> None:
    text = _left(machine, lambda: subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True))
    assert f" {tmp_path} " in text
    assert not os.path.ismount(tmp_path)


def test_a_control_group_is_found_and_removed(machine: Machine) -> None:
    path = f"{cgroup_roots()[0]}/pycompose-leftover-test-{os.getpid()}"
    assert path in _left(machine, lambda: os.mkdir(path))
    assert not os.path.exists(path)


def test_a_scope_of_systemds_is_found(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "UNITS", str(tmp_path))
    text = _left(machine, (tmp_path / "pycompose-demo.scope").touch)
    assert "unit pycompose-demo.scope" in text
    with machine.watch():
        (tmp_path / "pycompose-demo.12345678.scope").touch()  # of another run directory
        (tmp_path / "other.scope").touch()


def test_an_interface_is_found(own_network: None, machine: Machine) -> None:
    add = ["ip", "link", "add", "pc-lefttest", "type", "bridge"]
    try:
        assert "interface pc-lefttest" in _left(machine, lambda: subprocess.run(add, check=True))
    finally:
        subprocess.run(["ip", "link", "del", "pc-lefttest"], check=True)


def test_an_interface_into_another_ones_namespace_is_not_ours(own_network: None, machine: Machine) -> None:
    """Somebody else's experiment on this machine: a namespace that is pinned elsewhere."""
    name, namespace = "pc-notours", f"notours{os.getpid()}"
    try:
        with machine.watch():
            subprocess.run(["ip", "netns", "add", namespace], check=True)
            subprocess.run(
                ["ip", "link", "add", name, "type", "veth", "peer", "eth0", "netns", namespace],
                check=True,
            )
    finally:
        subprocess.run(["ip", "netns", "del", namespace], check=True)


def test_an_interface_that_goes_with_its_namespace_is_waited_for(own_network: None, machine: Machine) -> None:
    """The kernel removes the host's end after the namespace of the other end has lost its last process."""
    with machine.watch():
        script = "ip link add eth0 type veth peer pc-goes netns $PPID"
        subprocess.run(["unshare", "--net", "sh", "-c", script], check=True)


def test_firewall_objects_are_found_by_name_and_by_interface(own_network: None, machine: Machine) -> None:
    add = (
        "add table ip pycompose_lefttest; add table ip lefttest;"
        'add chain ip lefttest forward; add rule ip lefttest forward iifname "pc-lefttest" counter accept'
    )
    try:
        text = _left(machine, lambda: subprocess.run(["nft", add], check=True))
    finally:
        subprocess.run(["nft", "delete table ip pycompose_lefttest; delete table ip lefttest"], check=True)
    assert "firewall table pycompose_lefttest" in text
    assert "firewall rule lefttest forward" in text
    assert "firewall table lefttest" not in text


def test_a_listener_that_the_test_still_holds_is_found(machine: Machine) -> None:
    held = []

    def listen() -> None:
        held.append(socket.create_server(("127.0.0.1", 0)))

    try:
        assert "open descriptor" in _left(machine, listen)
    finally:
        held[0].close()


def test_a_listener_lost_in_a_queue_is_found(machine: Machine) -> None:
    """A descriptor that was sent and not received keeps its port, and no process shows it."""
    left, right = socket.socketpair()

    def lose() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            socket.send_fds(left, [b"x"], [listener.fileno()])

    with left, right:
        assert "held by no process" in _left(machine, lose)


def test_files_of_a_container_are_found(machine: Machine, territory: Territory) -> None:
    home = territory.new_paths()
    assert "containers/abc" in _left(machine, lambda: os.makedirs(f"{home.data}/containers/abc"))
    assert not os.path.exists(f"{home.data}/containers/abc")


def test_a_changed_setting_is_found(own_network: None, machine: Machine) -> None:
    path = "/proc/sys/net/ipv4/conf/lo/rp_filter"
    with open(path, encoding="ascii") as file:
        former = file.read()

    def change() -> None:
        with open(path, "w", encoding="ascii") as file:
            file.write("2" if former.strip() != "2" else "1")

    try:
        assert path in _left(machine, change)
    finally:
        with open(path, "w", encoding="ascii") as file:
            file.write(former)


def test_a_group_that_was_made_for_a_container_is_found_by_its_mark(machine: Machine) -> None:
    group = f"{cgroup_roots()[0]}/marked-{os.getpid()}"

    def make() -> None:
        os.mkdir(group)
        os.setxattr(group, "trusted.pycompose", b"1")

    assert f"control group {group}" in _left(machine, make)
    assert not os.path.exists(group)
