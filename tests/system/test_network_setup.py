"""Network set-up, on a host made of namespaces: containers reach what they may, and nothing else."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from compose.errors import NetworkError
from compose.network import labels
from compose.network.kernel import links
from compose.network.kernel.netlink import ROUTE, Netlink
from compose.network.setup.client import SetupClient, fork_setup
from compose.network.setup.namespaces import get_sysctl
from compose.network.types import ContainerLinks, Endpoint, NetworkSpec
from tests.support.fake_host import OUTSIDE, FakeHost
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.state.paths import Paths

FRONT = NetworkSpec("f" * 64, "front", "shop", "10.200.0.0/24", "10.200.0.1")
BACK = NetworkSpec("b" * 64, "back", "shop", "10.200.1.0/24", "10.200.1.1", internal=True)
SIDE = NetworkSpec("5" * 64, "side", "shop", "10.200.2.0/24", "10.200.2.1")
SIX = NetworkSpec(
    "6" * 64, "six", "shop", "10.200.6.0/24", "10.200.6.1", subnet6="fd00:6::/64", gateway6="fd00:6::1"
)
WEB, DB, OTHER = "a" * 64, "d" * 64, "e" * 64
IP_TRANSPARENT = 19


@pytest.fixture
def setup(host: FakeHost, paths: Paths) -> Iterator[SetupClient]:
    """A client whose project is gone at the end, whatever the test did."""
    with fork_setup(paths) as client:
        yield client
        assert client.remove_sandbox("shop", [WEB, DB, OTHER]) == []
    assert not [name for name in host.interfaces() if name.startswith("pc-")]
    assert not os.path.exists(paths.namespaces)
    assert not os.path.exists(f"{paths.data}/uplink.json")


def on(network: NetworkSpec, number: int, interface: str = "eth0") -> Endpoint:
    """The endpoint with that number in a network."""
    prefix = network.subnet.rpartition(".")[0]
    return Endpoint(
        network.id, interface, f"{prefix}.{number}/24", network.gateway, internal=network.internal
    )


@contextlib.contextmanager
def closing(sockets: dict[str, tuple[int, int]]) -> Iterator[dict[str, list[socket.socket]]]:
    """The name service's sockets, as sockets, until the end of the block."""
    opened = {key: [socket.socket(fileno=number) for number in pair] for key, pair in sockets.items()}
    try:
        yield opened
    finally:
        for pair in opened.values():
            for one in pair:
                one.close()


def state(host: FakeHost, where: str) -> list[tuple[int, str, str]]:
    with host.within(where), Netlink(ROUTE) as netlink:
        return [(link.number, link.name, link.alias) for link in links.links(netlink)]


def test_containers_reach_each_other_and_the_outside(host: FakeHost, setup: SetupClient) -> None:
    uplink = setup.create_sandbox("shop")
    setup.create_networks([FRONT])
    setup.create_containers("shop", [(WEB, [on(FRONT, 2)], False), (DB, [on(FRONT, 3)], False)])
    web, db = host.container(WEB), host.container(DB)
    assert host.peer_of(web, db, "10.200.0.3") == "10.200.0.2"
    assert host.peer_of(web, host.outside, OUTSIDE) == "192.0.2.2"  # the host's own address
    assert uplink is not None
    assert host.peer_of(web, host.host, uplink.host) == uplink.inside  # host.docker.internal
    assert uplink.mtu == 1400
    with host.within(web):
        assert links.mtu_of("eth0") == 1400


def test_bridges_are_isolated_and_internal_networks_have_no_way_out(
    host: FakeHost, setup: SetupClient
) -> None:
    setup.create_sandbox("shop")
    setup.create_networks([FRONT, BACK, SIDE])
    both = ContainerLinks(WEB, [on(FRONT, 2), on(BACK, 2, "eth1")], dns=False)
    setup.create_containers(
        "shop", [both, (DB, [on(BACK, 3)], False), ContainerLinks(OTHER, [on(SIDE, 2)], dns=False)]
    )
    web, db, other = host.container(WEB), host.container(DB), host.container(OTHER)
    assert host.peer_of(web, db, "10.200.1.3") == "10.200.1.2"
    assert host.reaches(other, host.outside, OUTSIDE)
    assert host.is_cut_off(other, web, "10.200.0.2")
    assert host.is_cut_off(db, host.outside, OUTSIDE)
    # not even with a route of its own: what the sandbox does not allow, a container cannot take
    with host.within(db), Netlink(ROUTE) as netlink:
        netlink.apply([links.add_default_route("10.200.1.1")])
    assert host.is_cut_off(db, host.outside, OUTSIDE)
    assert host.is_cut_off(db, other, "10.200.2.2")


def test_nothing_comes_in_from_outside(host: FakeHost, setup: SetupClient) -> None:
    uplink = setup.create_sandbox("shop")
    setup.create_networks([FRONT])
    setup.create_containers("shop", [(WEB, [on(FRONT, 2)], False)])
    assert uplink is not None
    with Netlink(ROUTE) as netlink:  # a host that routes to the container, as nobody asked it to
        netlink.apply(
            [links.add_default_route(uplink.inside, table=77), links.add_source_rule("192.0.2.2", 77)]
        )
    assert host.is_cut_off(host.host, host.container(WEB), "10.200.0.2")


def test_names_are_led_to_our_sockets_and_port_53_stays_free(host: FakeHost, setup: SetupClient) -> None:
    setup.create_sandbox("shop")
    setup.create_networks([FRONT])
    with closing(setup.create_containers("shop", [(WEB, [on(FRONT, 2)], True)])) as sockets:
        udp, tcp = sockets[WEB]
        with host.within(host.container(WEB)):
            asking, calling = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            own_server = socket.socket(type=socket.SOCK_DGRAM)
        with asking, calling, own_server:
            own_server.bind(("0.0.0.0", 53))
            asking.settimeout(MOMENT)
            asking.connect(("127.0.0.11", 53))
            asking.send(b"question")
            udp.settimeout(MOMENT)
            question, client = udp.recvfrom(100)
            assert question == b"question"
            udp.sendto(b"answer", client)
            assert asking.recv(100) == b"answer"
            calling.settimeout(MOMENT)
            calling.connect(("127.0.0.11", 53))
            tcp.settimeout(MOMENT)
            accepted, _ = tcp.accept()
            accepted.close()


def test_a_transparent_socket_keeps_the_client_address(host: FakeHost, setup: SetupClient) -> None:
    """What netd does: connect from the sandbox with an address that is not ours, and get the answers."""
    setup.create_sandbox("shop")
    setup.create_networks([FRONT, SIDE])
    two = [on(SIDE, 2), on(FRONT, 2, "eth1")]  # its default route goes by the other network
    setup.create_containers("shop", [ContainerLinks(WEB, two, dns=False)])
    with host.within(host.container(WEB)):
        listener = socket.create_server(("10.200.0.2", 80))
    with host.within(host.sandbox("shop")):
        caller = socket.socket()
    with listener, caller:
        caller.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        caller.bind(("198.51.100.77", 0))
        caller.settimeout(MOMENT)
        caller.connect(("10.200.0.2", 80))
        listener.settimeout(MOMENT)
        accepted, peer = listener.accept()
        with accepted:
            assert peer[0] == "198.51.100.77"
            accepted.sendall(b"welcome")
            assert caller.recv(100) == b"welcome"


def test_creating_twice_changes_nothing(host: FakeHost, setup: SetupClient) -> None:
    wanted = [(WEB, [on(FRONT, 2)], True), (DB, [on(FRONT, 3)], True)]

    def create() -> tuple[object, ...]:
        uplink = setup.create_sandbox("shop")
        setup.create_networks([FRONT, BACK])
        with closing(setup.create_containers("shop", wanted)):
            pass
        places = (host.sandbox("shop"), host.container(WEB), host.container(DB))
        return uplink, [state(host, place) for place in places], host.interfaces(), host.tables()

    assert create() == create()
    assert host.reaches(host.container(WEB), host.outside, OUTSIDE)


def test_a_network_whose_namespace_was_never_made_is_gone(setup: SetupClient, paths: Paths) -> None:
    os.makedirs(paths.namespaces)
    pin = paths.project_namespace("shop")
    with open(pin, "w"):  # killed between the file and the mount
        pass
    assert setup.remove_networks([FRONT]) == []
    assert setup.remove_sandbox("shop") == []
    assert not os.path.exists(pin)


def test_half_made_remains_are_completed(host: FakeHost, setup: SetupClient, paths: Paths) -> None:
    wanted = [(WEB, [on(FRONT, 2)], False), (DB, [on(FRONT, 3)], False)]

    def create() -> None:
        setup.create_sandbox("shop")
        setup.create_networks([FRONT])
        setup.create_containers("shop", wanted)
        assert host.peer_of(host.container(WEB), host.container(DB), "10.200.0.3") == "10.200.0.2"
        assert host.reaches(host.container(WEB), host.outside, OUTSIDE)

    os.makedirs(paths.namespaces)  # killed before the private mount
    create()
    with host.within(host.sandbox("shop")), Netlink(ROUTE) as netlink:  # the port went, or was never made
        netlink.apply([links.delete_link(labels.port(WEB, FRONT.id))])
    create()
    with Netlink(ROUTE) as netlink:  # the uplink went
        netlink.apply([links.delete_link(labels.uplink(paths.host_name("shop")))])
    create()
    os.unlink(f"{paths.data}/uplink.json")  # the record went
    create()
    assert setup.remove_containers("shop", [DB]) == []
    with open(host.container(DB), "w"):  # killed between the file and the mount
        pass
    create()


def test_a_lost_namespace_whose_port_is_still_there_is_made_again(host: FakeHost, setup: SetupClient) -> None:
    setup.create_sandbox("shop")
    setup.create_networks([FRONT])
    wanted = [(WEB, [on(FRONT, 2)], False)]
    setup.create_containers("shop", wanted)
    kept = os.open(host.container(WEB), os.O_RDONLY)  # somebody holds the old one
    try:
        from compose.network.setup.namespaces import Namespaces

        pins = Namespaces(host.paths)
        pins.remove(host.container(WEB))
        os.close(pins.host)
        setup.create_containers("shop", wanted)
        assert host.reaches(host.container(WEB), host.outside, OUTSIDE)
        with host.within(kept):
            assert links.index_of("eth0") == 0
    finally:
        os.close(kept)


def test_removal_cuts_off_a_container_that_somebody_keeps_alive(host: FakeHost, setup: SetupClient) -> None:
    setup.create_sandbox("shop")
    setup.create_networks([FRONT])
    setup.create_containers("shop", [(WEB, [on(FRONT, 2)], False), (DB, [on(FRONT, 3)], False)])
    held = {identity: os.open(host.container(identity), os.O_RDONLY) for identity in (WEB, DB)}
    sandbox = os.open(host.sandbox("shop"), os.O_RDONLY)
    try:
        assert setup.remove_containers("shop", [(WEB, [on(FRONT, 2)], False)]) == []
        assert setup.remove_containers("shop", [DB]) == []
        for descriptor in held.values():
            with host.within(descriptor):
                assert links.names() == ["lo"]
        assert setup.remove_networks([FRONT]) == []
        assert setup.remove_networks([FRONT]) == []
        assert setup.remove_sandbox("shop") == []
        assert setup.remove_sandbox("shop") == []
        with host.within(sandbox):
            assert links.names() == ["lo"]
    finally:
        for descriptor in (*held.values(), sandbox):
            os.close(descriptor)


def test_ipv6_only_where_it_is_asked_for(host: FakeHost, setup: SetupClient) -> None:
    setup.create_sandbox("shop")
    setup.create_networks([FRONT, SIX])
    six = [on(SIX, number)._replace(ipv6=f"fd00:6::{number}/64", gateway6="fd00:6::1") for number in (2, 3)]
    setup.create_containers(
        "shop",
        [
            ContainerLinks(WEB, [six[0], on(FRONT, 2, "eth1")], dns=False),
            ContainerLinks(DB, [six[1]], dns=False),
        ],
    )
    assert host.peer_of(host.container(WEB), host.container(DB), "fd00:6::3") == "fd00:6::2"
    with host.within(host.container(WEB)):
        assert get_sysctl("net/ipv6/conf/eth1/disable_ipv6") == "1"
        assert get_sysctl("net/ipv6/conf/lo/disable_ipv6") == "0"
        assert get_sysctl("net/ipv6/conf/eth0/accept_ra") == "0"


def test_sysctls_of_a_container(host: FakeHost, setup: SetupClient) -> None:
    setup.create_sandbox("shop", uplink=False)
    wanted = ContainerLinks(WEB, [], dns=False, sysctls={"net.core.somaxconn": "77"})
    setup.create_containers("shop", [wanted])
    with host.within(host.container(WEB)):
        assert get_sysctl("net/core/somaxconn") == "77"
        assert get_sysctl("net/ipv4/ip_unprivileged_port_start") == "0"
    with pytest.raises(NetworkError, match=r"set net\.core\.nonsense: No such file or directory"):
        setup.create_containers("shop", [wanted._replace(sysctls={"net.core.nonsense": "1"})])


def test_errors_name_what_is_missing(host: FakeHost, setup: SetupClient) -> None:
    with pytest.raises(NetworkError, match="create network front: its network namespace is not there"):
        setup.create_networks([FRONT])
    setup.create_sandbox("shop", uplink=False)
    with pytest.raises(NetworkError, match=f"container {WEB[:12]}: network {FRONT.id} is not there"):
        setup.create_containers("shop", [(WEB, [on(FRONT, 2)], True)])


def test_a_killed_process_is_told_and_its_remains_are_completed(host: FakeHost, paths: Paths) -> None:
    """Killed when it has pinned so many namespaces; the next one makes the rest, or removes all of it."""
    many = [(f"{number:064x}", [on(FRONT, number)], True) for number in range(2, 32)]
    for pins in (1, 5, 29):
        client = fork_setup(paths)
        with client:
            client.create_sandbox("shop")
            client.create_networks([FRONT])
            _kill_after(client, paths, pins, many)
        with fork_setup(paths) as client:
            client.create_sandbox("shop")
            with closing(client.create_containers("shop", many)):
                reached = [
                    host.reaches(host.container(many[number][0]), host.outside, OUTSIDE) for number in (0, 29)
                ]
                assert reached == [True, True]
            assert client.remove_sandbox("shop", many) == []
        assert host.interfaces() == {"lo", "eth0"}
        assert host.tables() == set()
        assert not os.path.exists(paths.namespaces)


def _kill_after(
    client: SetupClient, paths: Paths, pins: int, many: list[tuple[str, list[Endpoint], bool]]
) -> None:
    """Ask for containers, and kill the process as soon as so many namespaces are pinned."""
    watcher = os.fork()
    if watcher == 0:
        while len([name for name in os.listdir(paths.namespaces) if name.startswith("c-")]) < pins:
            os.sched_yield()
        os.kill(client._pid, signal.SIGKILL)
        os._exit(0)
    try:
        with closing(client.create_containers("shop", many)):
            pass  # it was quicker than the watcher
    except NetworkError as error:
        assert error.message == "network set-up ended in the middle of a request"
    os.waitpid(watcher, 0)


def test_many_containers_in_one_request(host: FakeHost, setup: SetupClient) -> None:
    """More than are furnished at once, and more descriptors than one message carries."""
    setup.create_sandbox("shop")
    setup.create_networks([FRONT])
    many = [(f"{number:064x}", [on(FRONT, number)], True) for number in range(2, 132)]
    with closing(setup.create_containers("shop", many)) as sockets:
        assert list(sockets) == [identity for identity, _, _ in many]
        assert len({one.getsockname() for pair in sockets.values() for one in pair}) > 1
    assert (
        host.peer_of(host.container(many[0][0]), host.container(many[-1][0]), "10.200.0.131") == "10.200.0.2"
    )
    assert setup.remove_sandbox("shop", many) == []


def test_too_few_descriptors_are_one_clear_error(host: FakeHost, setup: SetupClient) -> None:
    setup.create_sandbox("shop")
    setup.create_networks([FRONT])
    many = [(f"{number:064x}", [on(FRONT, number)], True) for number in range(2, 22)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir("/proc/self/fd")}
    free = [number for number in range(len(used) + 20) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[10], hard))
    try:
        with pytest.raises(NetworkError, match="no room for 40 descriptors"):
            setup.create_containers("shop", many)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert setup.remove_sandbox("shop", many) == []


def test_sweep_removes_what_nobody_owns(host: FakeHost, setup: SetupClient, paths: Paths) -> None:
    for project in ("shop", "blog"):
        setup.create_sandbox(project)
    setup.create_networks([FRONT, SIDE, BACK._replace(sandbox="blog")])
    setup.create_containers("shop", [(WEB, [on(FRONT, 2)], False), (DB, [on(FRONT, 3)], False)])
    setup.create_containers("blog", [ContainerLinks(OTHER, [on(BACK, 2)], dns=False)])
    live = {"live_containers": [WEB], "live_projects": ["shop"], "live_networks": [FRONT.id]}

    found, problems = setup.sweep(**live, remove=False)
    assert problems == []
    names = {(one.kind, one.name, one.where) for one in found}
    assert names == {
        ("namespace", f"c-{DB}", ""),
        ("namespace", f"c-{OTHER}", ""),
        ("namespace", "p-blog", ""),
        ("interface", labels.port(DB, FRONT.id), "shop"),
        ("interface", labels.bridge(SIDE.id), "shop"),
        ("interface", labels.uplink(paths.host_name("blog")), ""),
        ("table", labels.uplink(paths.host_name("blog")), ""),
    }
    assert setup.sweep(**live)[1] == []  # type: ignore[arg-type]
    assert setup.sweep(**live) == ([], [])  # type: ignore[arg-type]
    assert host.reaches(host.container(WEB), host.outside, OUTSIDE)
    assert labels.uplink(paths.host_name("blog")) not in host.interfaces() | host.tables()
    assert sorted(os.listdir(paths.namespaces)) == [f"c-{WEB}", "p-shop"]
