"""Messages to the kernel: names, templates, rules, and the light import of pyroute2."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from compose.network import labels
from compose.network.kernel import links, nft
from compose.network.kernel.netlink import Message, Template, message
from compose.network.kernel.pyroute import fibmsg, ifinfmsg, load, nftsocket, rtmsg
from compose.network.types import Endpoint


def test_names_fit_and_tell_whose_they_are() -> None:
    names = [labels.uplink("shop"), labels.bridge("n" * 64), labels.port("c" * 64, "n" * 64), labels.INSIDE]
    assert all(len(name) <= 15 for name in names)
    assert len({*names, labels.uplink("blog"), labels.port("c" * 64, "m" * 64)}) == 6
    assert [labels.is_ours(name) for name in names] == [False, True, True, False]
    assert not any(labels.is_ours(name) for name in ("eth0", "veth0123456789a", "br-0123456789xy", "lo", "v"))
    assert labels.uplink("q\udcff")  # bytes that are no text have a name as well


def test_hardware_addresses_go_with_the_address() -> None:
    assert labels.mac_of("10.1.2.3/24") == "02:42:0a:01:02:03"


def test_a_template_fills_every_place() -> None:
    template = Template(b"..AAAA..BB..AAAA", {"first": b"AAAA", "second": b"BB"})
    assert template.fill(first=b"1234", second=b"56") == b"..1234..56..1234"
    with pytest.raises(ValueError, match="second is 1 bytes long, not 2"):
        template.fill(first=b"1234", second=b"5")
    with pytest.raises(ValueError, match="no third in the message"):
        Template(b"..", {"third": b"CC"})


ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def decoded(kind: Any, request: Message) -> Any:
    found = kind(request.data)
    found.decode()
    return found


def expressions(request: Message) -> list[tuple[str, dict[str, Any]]]:
    """Names of a rule's expressions, each with its values, as pyroute2 reads them."""
    rule = decoded(nftsocket.nft_rule_msg, request)
    return [
        (one.get_attr("NFTA_EXPR_NAME"), dict(one.get_attr("NFTA_EXPR_DATA")["attrs"]))
        for one in rule.get_attr("NFTA_RULE_EXPRESSIONS")
    ]


def test_a_rule_is_what_it_says() -> None:
    request = nft.rule(
        nft.IPV4, "t", "c", nft.daddr("127.0.0.11"), nft.dport(17, 53), nft.dnat("127.0.0.11", 4242)
    )
    found = expressions(request)
    assert [name for name, _ in found] == [
        *("payload", "cmp", "meta", "cmp", "payload", "cmp"),
        *("immediate", "immediate", "nat"),
    ]
    values = [data for _, data in found]
    assert (values[0]["NFTA_PAYLOAD_OFFSET"], values[0]["NFTA_PAYLOAD_LEN"]) == (16, 4)
    assert values[1]["NFTA_CMP_DATA"].get_attr("NFTA_DATA_VALUE") == bytes([127, 0, 0, 11])
    assert values[5]["NFTA_CMP_DATA"].get_attr("NFTA_DATA_VALUE") == b"\x00\x35"
    assert values[7]["NFTA_IMMEDIATE_DATA"].get_attr("NFTA_DATA_VALUE") == (4242).to_bytes(2, "big")
    assert values[8]["NFTA_NAT_REG_ADDR_MIN"] == "NFT_REG_1"


def test_an_interface_is_compared_as_iptables_compares_it() -> None:
    """With the final NUL and no more: so ``iptables -S`` can print the rule."""
    (_, meta), (_, compare) = expressions(nft.rule(nft.IPV4, "filter", "FORWARD", nft.iifname("pc-01234567")))
    assert meta["NFTA_META_KEY"] == "NFT_META_IIFNAME"
    assert compare["NFTA_CMP_DATA"].get_attr("NFTA_DATA_VALUE") == b"pc-01234567\0"


def test_pairs_of_interfaces_are_two_padded_names() -> None:
    request = nft.add_pairs(nft.INET, "t", "allowed", [("br-1", "uplink")])
    (element,) = decoded(nftsocket.nft_set_elem_list_msg, request).get_attr("NFTA_SET_ELEM_LIST_ELEMENTS")
    key = bytes(element.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE"))
    assert key == b"br-1".ljust(16, b"\0") + b"uplink".ljust(16, b"\0")


def test_interfaces_that_go_together_are_deleted_as_one_group() -> None:
    *marked, last = links.delete_links(["v01234567890123", "uplink"])
    names = [decoded(ifinfmsg, one).get_attr("IFLA_IFNAME") for one in marked]
    assert [name.rstrip("\0") for name in names] == ["v01234567890123", "uplink"]
    groups = {decoded(ifinfmsg, one).get_attr("IFLA_GROUP") for one in (*marked, last)}
    assert len(groups) == 1
    assert links.delete_links([]) == []


def test_endpoints_come_from_a_spec_with_keys_of_later_versions() -> None:
    found = Endpoint.of({"network": "n", "ipv4": "10.1.2.3/24", "something": "new"})
    assert found == Endpoint("n", "eth0", "10.1.2.3/24")
    assert Endpoint.of(found) is found


def test_a_routing_table_may_have_any_number() -> None:
    """A header has a byte for it; a container in hundreds of networks has as many tables."""
    for table, short in ((254, 254), (1300, 252)):
        route = decoded(rtmsg, links.add_default_route("10.0.0.1", table=table))
        rule = decoded(fibmsg, links.add_source_rule("10.0.0.2", table))
        assert (route["table"], route.get_attr("RTA_TABLE")) == (short, table)
        assert (rule["table"], rule.get_attr("FRA_TABLE")) == (short, table)


def test_both_ways_to_import_pyroute2_encode_the_same() -> None:
    encoded = []
    for alone in (True, False):
        classes = load(alone=alone)[0]
        attributes = [("IFLA_IFNAME", "eth0"), ("IFLA_MTU", 1400)]
        encoded.append(message("", classes.ifinfmsg, 16, 5, {"index": 3}, attributes).data)
    assert encoded[0] == encoded[1]


SCRIPT = """
import sys
from compose.network.kernel import pyroute
assert "asyncio" not in sys.modules and "pyroute2" not in sys.modules, "all of pyroute2 was imported"
import pyroute2
from pyroute2.nftables.main import NFTables
with pyroute2.IPRoute() as whole, NFTables() as rules:
    assert [link["index"] for link in whole.get_links()]
    assert rules.get_rules
"""


def test_the_light_import_leaves_the_real_one_whole() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


LIGHT = f"""
import sys
sys.path.insert(0, {ROOT!r})
before = set(sys.modules)
import compose.network.setup.client
print(*set(sys.modules) - before)
"""


def test_forking_network_setup_imports_next_to_nothing() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {name for name in done.stdout.split() if not name.startswith("compose")} <= {
        "__future__",
        "_json",
        "_socket",
        "itertools",
    }
