"""The way out, beside firewalls of others: what is changed on the host, and that it is put back."""

from __future__ import annotations

import json
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from compose.errors import NetworkError
from compose.network import labels
from compose.network.kernel import links, nft
from compose.network.kernel.netlink import NETFILTER, ROUTE, Netlink, message
from compose.network.kernel.pyroute import nftsocket
from compose.network.setup import foreign
from compose.network.setup.client import SetupClient, fork_setup
from compose.network.setup.namespaces import set_sysctl
from compose.network.types import Endpoint, NetworkSpec
from compose.state.paths import Paths
from tests.support.fake_host import HOST6, OUTSIDE, OUTSIDE6, FakeHost, docker_rules, firewalld_rules
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.network.kernel.netlink import Message

FORWARDING = "net/ipv4/conf/eth0/forwarding"
WEB = "a" * 64


@pytest.fixture
def setup(host: FakeHost, paths: Paths) -> Iterator[SetupClient]:
    with fork_setup(paths) as client:
        yield client


def create(setup: SetupClient, project: str = "shop", number: int = 0, identity: str = WEB) -> None:
    """A project with one network and one container on it."""
    network = NetworkSpec(f"{project}-net", "default", project, f"10.200.{number}.0/24", f"10.200.{number}.1")
    setup.create_sandbox(project)
    setup.create_networks([network])
    endpoint = Endpoint(network.id, "eth0", f"10.200.{number}.2/24", network.gateway)
    setup.create_containers(project, [(identity, [endpoint], False)])


def test_forwarding_is_switched_on_recorded_and_put_back(
    host: FakeHost, setup: SetupClient, paths: Paths
) -> None:
    other = "b" * 64
    create(setup)
    create(setup, "blog", 1, other)
    assert host.reaches(host.container(WEB), host.outside, OUTSIDE)
    assert host.setting("net/ipv4/ip_forward") == "0"
    assert host.setting(FORWARDING) == "1"
    with open(f"{paths.data}/uplink.json") as file:
        record = json.load(file)
    assert record["former"] == {FORWARDING: "0"}
    assert set(record["projects"]) == {"shop", "blog"}
    assert stat.S_IMODE(os.stat(f"{paths.data}/uplink.json").st_mode) == 0o600

    assert setup.remove_sandbox("shop", [WEB]) == []
    assert host.setting(FORWARDING) == "1"  # the other project needs it
    assert host.reaches(host.container(other), host.outside, OUTSIDE)
    assert setup.remove_sandbox("blog", [other]) == []
    assert host.setting(FORWARDING) == "0"
    assert not os.path.exists(f"{paths.data}/uplink.json")
    assert host.tables() == set()
    assert host.interfaces() == {"lo", "eth0"}


def test_projects_cannot_reach_each_other_by_the_host(host: FakeHost, setup: SetupClient) -> None:
    create(setup)
    second = setup.create_sandbox("blog")
    assert second is not None
    assert host.is_cut_off(host.container(WEB), host.sandbox("blog"), second.inside)
    assert setup.remove_sandbox("shop", [WEB]) + setup.remove_sandbox("blog") == []


@pytest.mark.parametrize(
    ("rules", "place"),
    [(docker_rules(), "ip filter DOCKER-USER"), (firewalld_rules(), "inet firewalld filter_FORWARD")],
    ids=["docker", "firewalld"],
)
def test_beside_a_firewall_that_drops(
    host: FakeHost, setup: SetupClient, rules: list[Message], place: str
) -> None:
    set_sysctl("net/ipv4/ip_forward", "1")
    host.rules(rules)
    create(setup)
    name = labels.uplink(host.paths.host_name("shop"))
    assert {(str(rule.chain), rule.direction, rule.interface) for rule in host.our_rules()} == {
        (place, "in", name),
        (place, "out", name),
    }
    assert host.reaches(host.container(WEB), host.outside, OUTSIDE)
    setup.create_sandbox("shop")
    assert len(host.our_rules()) == 2
    assert setup.remove_sandbox("shop", [WEB]) == []
    assert host.our_rules() == []


def test_without_our_rules_the_firewall_drops(host: FakeHost, setup: SetupClient) -> None:
    """The test of the tests: what is dropped without the two rules."""
    set_sysctl("net/ipv4/ip_forward", "1")
    create(setup)
    host.rules(docker_rules())  # the engine comes later
    assert host.is_cut_off(host.container(WEB), host.outside, OUTSIDE)
    setup.create_sandbox("shop")  # and the next `up` finds it
    assert host.reaches(host.container(WEB), host.outside, OUTSIDE)
    assert setup.remove_sandbox("shop", [WEB]) == []


def test_a_flushed_firewall_is_made_again(host: FakeHost, setup: SetupClient) -> None:
    create(setup)
    host.rules([nft.delete_table(nft.IPV4, labels.uplink(host.paths.host_name("shop")))])
    assert host.is_cut_off(host.container(WEB), host.outside, OUTSIDE)
    setup.create_sandbox("shop")
    assert host.reaches(host.container(WEB), host.outside, OUTSIDE)
    assert setup.remove_sandbox("shop", [WEB]) == []


def test_a_firewall_that_refuses_our_rule_is_named(host: FakeHost, setup: SetupClient) -> None:
    """A table with an owner (NFT_TABLE_F_OWNER) cannot be changed by anybody else."""
    with Netlink(NETFILTER) as owner:
        attributes = [("NFTA_TABLE_NAME", "guard"), ("NFTA_TABLE_FLAGS", 2)]
        table = message("", nftsocket.nft_table_msg, 10 << 8, 0x405, {"nfgen_family": nft.INET}, attributes)
        chain = nft.chain(
            nft.INET, "guard", "forward", kind="filter", hook=nft.FORWARD, priority=0, policy=nft.DROP
        )
        assert owner.transaction([table, chain]) == []
        with pytest.raises(NetworkError, match="the firewall's chain inet guard forward drops"):
            setup.create_sandbox("shop")
        assert setup.remove_sandbox("shop") == []
    assert host.tables() == set()


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_the_same_project_of_another_run_directory_is_left_alone(
    host: FakeHost, setup: SetupClient, paths: Paths, first: str
) -> None:
    """Whoever goes first, the other keeps its way out, and the last one puts the host's setting back."""
    theirs = Paths(f"{paths.data}/other", f"{paths.run}/other")
    os.mkdir(theirs.data)
    os.mkdir(theirs.run)
    create(setup)
    with fork_setup(theirs) as stranger:
        create(stranger)
        assert stranger.sweep(live_containers=[WEB], live_projects=["shop"]) == ([], [])
        clients = [(setup, paths), (stranger, theirs)]
        if first == "theirs":
            clients.reverse()
        (leaving, _), (staying, place) = clients
        assert leaving.remove_sandbox("shop", [WEB]) == []
        assert leaving.sweep(live_containers=[], live_projects=[]) == ([], [])
        assert host.setting(FORWARDING) == "1"
        assert host.reaches(place.container_namespace(WEB), host.outside, OUTSIDE)
        assert staying.remove_sandbox("shop", [WEB]) == []
    assert host.setting(FORWARDING) == "0"
    assert (host.tables(), host.interfaces()) == (set(), {"lo", "eth0"})
    assert not any(os.path.exists(f"{one.run}/former.json") for one in (paths, theirs))


def test_a_link_that_somebody_else_has_given_our_name_is_left_alone(
    host: FakeHost, setup: SetupClient, paths: Paths
) -> None:
    name = labels.uplink(paths.host_name("shop"))
    with Netlink(ROUTE) as netlink:
        netlink.apply(links.add_pair(name, "theirs", host.outside, 1400))
        netlink.apply([links.set_alias(name, "pycompose uplink shop /run/elsewhere")])
    with pytest.raises(NetworkError, match="project shop is already up on this host"):
        setup.create_sandbox("shop")
    assert setup.remove_sandbox("shop") == []
    assert name in host.interfaces()


def test_a_record_that_a_killed_process_left_is_undone(
    host: FakeHost, setup: SetupClient, paths: Paths
) -> None:
    """Killed between the record and the interface, or in the middle of the last removal."""
    setup.create_sandbox("shop")
    setup.create_sandbox("gone")
    with open(f"{paths.data}/uplink.json") as file:
        record = json.load(file)
    assert setup.remove_sandbox("gone") == []
    with open(f"{paths.data}/uplink.json", "w") as file:
        json.dump(record, file)
    assert setup.remove_sandbox("shop") == []
    assert host.setting(FORWARDING) == "1"  # "gone" is on record still
    assert setup.sweep(live_containers=[], live_projects=[]) == ([], [])
    assert host.setting(FORWARDING) == "0"
    assert not os.path.exists(f"{paths.data}/uplink.json")


@pytest.mark.parametrize("content", [b"", b"{", b'{"projects": 5}', None])
def test_a_damaged_record_takes_nothing_from_others(
    host: FakeHost, setup: SetupClient, paths: Paths, content: bytes | None
) -> None:
    """The host's setting stays while another project needs it, and is put back by the last one."""
    other = "b" * 64
    create(setup)
    create(setup, "blog", 1, other)
    path = f"{paths.data}/uplink.json"
    os.unlink(path)
    if content is None:
        os.mkdir(path)
    else:
        with open(path, "wb") as file:
            file.write(content)
    assert setup.remove_sandbox("shop", [WEB]) == []
    assert host.reaches(host.container(other), host.outside, OUTSIDE)
    assert host.setting(FORWARDING) == "1"
    assert setup.remove_sandbox("blog", [other]) == []
    assert host.setting(FORWARDING) == "0"
    assert not os.path.exists(path)


def test_a_record_of_another_boot_says_nothing(host: FakeHost, setup: SetupClient, paths: Paths) -> None:
    with open(f"{paths.data}/uplink.json", "w") as file:
        json.dump(
            {"boot_id": "before", "host": "4:1", "projects": {"old": {}}, "former": {FORWARDING: "7"}}, file
        )
    create(setup)
    assert setup.remove_sandbox("shop", [WEB]) == []
    assert host.setting(FORWARDING) == "0"
    assert not os.path.exists(f"{paths.data}/uplink.json")


def test_addresses_of_the_pair_avoid_the_hosts_routes(host: FakeHost, setup: SetupClient) -> None:
    first = setup.create_sandbox("shop")
    second = setup.create_sandbox("blog")
    assert first is not None and second is not None
    assert first.host.rpartition(".")[0].startswith("10.199.")
    assert {first.host, first.inside}.isdisjoint({second.host, second.inside})
    assert setup.remove_sandbox("shop") + setup.remove_sandbox("blog") == []


@pytest.mark.parametrize("forwarding", ["0", "1"])
def test_ipv6_goes_out_where_a_network_has_it(
    host: FakeHost, setup: SetupClient, paths: Paths, forwarding: str
) -> None:
    """The host's forwarding is never touched; single interfaces are made to forward where the kernel can."""
    set_sysctl("net/ipv6/conf/all/forwarding", forwarding)
    network = NetworkSpec(
        "six", "six", "shop", "10.200.6.0/24", "10.200.6.1", subnet6="fd00:6::/64", gateway6="fd00:6::1"
    )
    endpoint = Endpoint(
        "six", "eth0", "10.200.6.2/24", "10.200.6.1", ipv6="fd00:6::2/64", gateway6="fd00:6::1"
    )
    able = forwarding == "1" or host.setting("net/ipv6/conf/eth0/force_forwarding") is not None
    setup.create_sandbox("shop")
    warnings = setup.create_networks([network])
    assert setup.create_networks([network]) == warnings
    assert [warning.partition(":")[0] for warning in warnings] == (
        [] if able else ["containers reach nothing outside by IPv6"]
    )
    setup.create_containers("shop", [(WEB, [endpoint], False)])
    if not able:
        assert host.is_cut_off(host.container(WEB), host.outside, OUTSIDE6)
    else:
        assert host.peer_of(host.container(WEB), host.outside, OUTSIDE6) == HOST6
    assert setup.remove_sandbox("shop", [WEB]) == []
    assert host.setting("net/ipv6/conf/all/forwarding") == forwarding
    assert host.setting("net/ipv6/conf/eth0/force_forwarding") in ("0", None)
    assert host.tables() == set()


def test_on_the_real_host(nothing_left: None, paths: Paths) -> None:
    """One project on the machine itself, beside whatever runs here, as far as the package mirror."""
    project = f"real-{os.getpid()}"
    network = NetworkSpec(f"{project}-net", "default", project, "10.200.77.0/24", "10.200.77.1")
    endpoint = Endpoint(network.id, "eth0", "10.200.77.2/24", network.gateway)
    with fork_setup(paths) as setup:
        try:
            uplink = setup.create_sandbox(project)
            assert uplink is not None
            setup.create_networks([network])
            setup.create_containers(project, [(WEB, [endpoint], False)])
            with Netlink(NETFILTER) as netlink:
                dropping = foreign.dropping(netlink, ipv6=False)
                ours = [rule for rule in foreign.rules_of_ours(netlink) if rule.interface == uplink.interface]
            assert len(ours) == 2 * len(dropping)
            for address in _mirror_addresses():
                _connect_from(paths.container_namespace(WEB), address)
        finally:
            assert setup.remove_sandbox(project, [WEB]) == []


def _mirror_addresses() -> list[tuple[str, int]]:
    """Where the package mirror of the host's own configuration is, by IPv4; empty where there is none."""
    from urllib.parse import urlsplit

    texts = []
    for directory in ("/etc/apt/sources.list.d", "/etc/apt"):
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            if name.endswith((".list", ".sources")):
                with open(f"{directory}/{name}") as file:
                    texts += [line for line in file if not line.startswith("#")]
    words = [word for text in texts for word in text.split() if word.startswith("http")]
    found = []
    for host, port in {(urlsplit(word).hostname, urlsplit(word).port or 80) for word in words}:
        try:
            found += [
                info[4][:2] for info in socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[:1]
            ]
        except OSError:
            continue  # a machine without a network has no mirror either
    return [(str(address), int(port)) for address, port in found]


def _connect_from(namespace: str, address: tuple[str, int]) -> None:
    from tests.support.network_lab import in_thread

    def connect() -> None:
        from compose.linux.namespaces import CLONE_NEWNET, setns

        descriptor = os.open(namespace, os.O_RDONLY)
        setns(descriptor, CLONE_NEWNET)
        os.close(descriptor)
        with socket.create_connection(address, timeout=MOMENT) as connection:
            connection.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            assert connection.recv(4) == b"HTTP"

    in_thread(connect)
