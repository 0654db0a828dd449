"""Addresses are decided without asking the machine."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import NetworkError
from compose.network.addresses import (
    NetworkAddresses,
    Route,
    assign,
    parse_routes,
    plan_network,
    private_subnet6,
)

TABLE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
tun0\t0000000A\t00000000\t0001\t0\t0\t50\t000000FF\t0\t0\t0
*\t0000A8C0\t00000000\t0200\t0\t0\t0\t0000FFFF\t0\t0\t0
half a line
"""


def route(network: str, interface: str = "eth0") -> Route:
    return Route(interface, ipaddress.IPv4Network(network))


def test_the_kernels_table_is_read() -> None:
    found = parse_routes(TABLE)
    assert [(one.interface, str(one.network), one.is_default) for one in found] == [
        ("eth0", "0.0.0.0/0", True),
        ("eth0", "192.0.2.0/24", False),
        ("tun0", "10.0.0.0/8", False),
    ]


def test_default_subnets_follow_one_another_around_what_is_there() -> None:
    assert plan_network("x") == NetworkAddresses("10.200.0.0/24", "10.200.0.1")
    taken = ["10.200.0.0/24", "10.200.2.0/23", "fd00::/64", "10.200.1.128/25"]
    assert plan_network("x", taken=taken).subnet == "10.200.4.0/24"
    assert plan_network("x", taken=["10.200.1.0/24"]).subnet == "10.200.0.0/24"
    everything = [route("0.0.0.0/0"), route("10.0.0.0/8"), route("172.20.0.0/16")]
    assert plan_network("x", routes=everything).subnet == "172.21.0.0/24"


def test_the_pools_have_an_end() -> None:
    routes = [route("10.0.0.0/8"), route("172.16.0.0/12"), route("192.168.0.0/16")]
    with pytest.raises(NetworkError, match="create network x: no free subnet is left in") as caught:
        plan_network("x", routes=routes)
    assert caught.value.hint == "give the network a subnet in its ipam.config"


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(9, 30)), max_size=30))
def test_a_default_subnet_never_overlaps(occupied: list[tuple[int, int]]) -> None:
    networks = [ipaddress.IPv4Network((address, length), strict=False) for address, length in occupied]
    chosen = ipaddress.IPv4Network(plan_network("x", routes=[Route("e", one) for one in networks]).subnet)
    assert not any(chosen.overlaps(one) for one in networks)


def test_an_explicit_subnet() -> None:
    ipam = [
        {
            "subnet": "10.1.2.0/24",
            "gateway": "10.1.2.254",
            "ip_range": "10.1.2.128/25",
            "aux_addresses": {"router": "10.1.2.129"},
        }
    ]
    plan = plan_network("x", ipam=ipam, taken=["10.1.2.0/24"])  # an explicit one may be had twice
    assert plan == NetworkAddresses("10.1.2.0/24", "10.1.2.254", "10.1.2.128/25", reserved=("10.1.2.129",))
    assert assign("x", plan, ["a", "b"]) == {"a": "10.1.2.128/24", "b": "10.1.2.130/24"}
    assert plan_network("x", ipam=[{"subnet": "10.1.2.3/24"}]).subnet == "10.1.2.0/24"
    assert plan_network("x", ipam=[{"gateway": "10.200.0.9"}]).gateway == "10.200.0.9"


@pytest.mark.parametrize(
    ("ipam", "message"),
    [
        ([{"subnet": "10.1.2.0/24"}], "subnet 10.1.2.0/24 overlaps the host route 10.1.0.0/16 (tun0)"),
        ([{"subnet": "10.9.0.0/33"}], "10.9.0.0/33 is no subnet"),
        ([{"subnet": "10.9.0.0/31"}], "subnet 10.9.0.0/31 has no room for a gateway and a container"),
        (
            [{"subnet": "10.9.0.0/24", "gateway": "10.9.1.1"}],
            "gateway 10.9.1.1 is not in the subnet 10.9.0.0/24",
        ),
        ([{"subnet": "10.9.0.0/24", "gateway": "here"}], "gateway here is no address"),
        (
            [{"subnet": "10.9.0.0/24", "ip_range": "10.8.0.0/25"}],
            "ip_range 10.8.0.0/25 is not in the subnet 10.9.0.0/24",
        ),
        (
            [{"subnet": "10.9.0.0/24", "aux_addresses": {"a": "10.8.0.1"}}],
            "aux_addresses.a 10.8.0.1 is not in the subnet 10.9.0.0/24",
        ),
        (
            [{"subnet": "10.9.0.0/24"}, {"subnet": "10.8.0.0/24"}],
            "more than one subnet of a kind (10.9.0.0/24, 10.8.0.0/24)",
        ),
    ],
)
def test_what_is_wrong_with_a_subnet_is_said(ipam: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(NetworkError) as caught:
        plan_network("x", ipam=ipam, routes=[route("0.0.0.0/0"), route("10.1.0.0/16", "tun0")])
    assert caught.value.message == f"create network x: {message}"


def test_ipv6_where_it_is_enabled() -> None:
    ipam = [{"subnet": "fd00:1::/64"}, {"subnet": "10.1.2.0/24"}]
    plan = plan_network("x", ipam=ipam, ipv6=True)
    assert (plan.subnet, plan.subnet6, plan.gateway6) == ("10.1.2.0/24", "fd00:1::/64", "fd00:1::1")
    assert assign("x", plan, ["a"], version=6) == {"a": "fd00:1::2/64"}
    without = plan_network("x", ipam=ipam)
    assert without.subnet6 == ""
    assert without.warnings == ("network x: subnet fd00:1::/64 does nothing without enable_ipv6: true",)
    made = plan_network("x", ipv6=True, identity="n1")
    assert made.subnet6 == str(private_subnet6("n1")) != str(private_subnet6("n2"))
    assert private_subnet6("n1").subnet_of(ipaddress.IPv6Network("fd00::/8"))


PLAN = NetworkAddresses("10.1.2.0/29", "10.1.2.1")


def test_slots_get_the_first_spare_addresses_and_keep_them() -> None:
    first = assign("x", PLAN, ["p.web.1", "p.db.1"])
    assert first == {"p.web.1": "10.1.2.2/29", "p.db.1": "10.1.2.3/29"}
    again = assign("x", PLAN, ["p.cache.1", "p.db.1"], held=first)
    assert again == {"p.cache.1": "10.1.2.4/29", "p.db.1": "10.1.2.3/29"}


def test_a_fixed_address_wins() -> None:
    held = {"web": "10.1.2.2/29", "db": "10.1.2.3"}
    fixed = {"web": "10.1.2.5"}
    assert assign("x", PLAN, ["web", "new", "db"], held=held, fixed=fixed) == {
        "web": "10.1.2.5/29",
        "new": "10.1.2.2/29",
        "db": "10.1.2.3/29",
    }
    exchanged = {"web": "10.1.2.3", "db": "10.1.2.2"}
    assert assign("x", PLAN, ["web", "db"], held=held, fixed=exchanged) == {
        "web": "10.1.2.3/29",
        "db": "10.1.2.2/29",
    }


def test_what_a_slot_held_in_another_subnet_is_forgotten() -> None:
    assert assign("x", PLAN, ["web"], held={"web": "10.9.9.9/24"}) == {"web": "10.1.2.2/29"}


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ({"p.web.1": "10.1.3.1"}, "address of p.web.1 10.1.3.1 is not in the subnet 10.1.2.0/29"),
        ({"p.web.1": "10.1.2.1"}, "address 10.1.2.1 of p.web.1 is the gateway's"),
        ({"p.web.1": "10.1.2.7"}, "address 10.1.2.7 of p.web.1 is not for a container"),
        ({"p.web.1": "10.1.2.2"}, "address 10.1.2.2 of p.web.1 is in use by p.db.1"),
        ({"p.web.1": "10.1.2.5", "p.api.1": "10.1.2.5"}, "address 10.1.2.5 of p.api.1 is in use by p.web.1"),
    ],
)
def test_what_is_wrong_with_a_fixed_address_is_said(fixed: dict[str, str], message: str) -> None:
    with pytest.raises(NetworkError) as caught:
        assign("x", PLAN, [*fixed], held={"p.db.1": "10.1.2.2/29"}, fixed=fixed)
    assert caught.value.message == f"network x: {message}"


def test_a_full_network_says_so() -> None:
    slots = [f"p.web.{number}" for number in range(6)]
    with pytest.raises(NetworkError, match=r"network x: no free address for p\.web\.5 in 10\.1\.2\.0/29"):
        assign("x", PLAN, slots)


@given(
    st.lists(st.sampled_from("abcdefgh"), unique=True),
    st.dictionaries(st.sampled_from("abcdefgh"), st.integers(2, 250).map(lambda n: f"10.1.2.{n}/24")),
)
def test_no_address_is_had_twice(slots: list[str], held: dict[str, str]) -> None:
    unique = {address: slot for slot, address in held.items()}
    kept = {slot: address for address, slot in unique.items()}
    got = assign("x", NetworkAddresses("10.1.2.0/24", "10.1.2.1"), slots, held=kept)
    assert list(got) == slots
    assert len({*got.values()}) == len(slots)
    assert all(got[slot] == kept[slot] for slot in slots if slot in kept)
    assert not {got[slot] for slot in slots if slot not in kept} & {*kept.values()}
