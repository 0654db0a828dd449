"""The rules that let a sandbox out by the host's addresses, and only out: a table a project on the host."""

from __future__ import annotations

from compose.errors import NetworkError
from compose.network import labels
from compose.network.kernel import nft
from compose.network.kernel.netlink import NETFILTER, Netlink


def make_table(family: int, name: str, inside: str, *, known: bool) -> None:
    """The table of rules of the uplink `name`, whole or not at all; what is `known` and there is as it should
    be. `inside` is the sandbox's address. Raises `NetworkError`.

    Sandboxes do not reach each other by their uplinks.
    """
    with Netlink(NETFILTER) as netlink:
        if known and netlink.exists(nft.get_chain(family, name, "postrouting")):
            return
        failures = netlink.transaction(
            [
                nft.table(family, name),
                nft.chain(
                    family, name, "postrouting", kind="nat", hook=nft.POSTROUTING, priority=nft.PRIORITY_SNAT
                ),
                nft.chain(
                    family, name, "forward", kind="filter", hook=nft.FORWARD, priority=nft.PRIORITY_FILTER
                ),
                nft.flush_chain(family, name, "postrouting"),
                nft.flush_chain(family, name, "forward"),
                nft.rule(
                    family,
                    name,
                    "postrouting",
                    nft.saddr(inside),
                    nft.oifname(name, equal=False),
                    nft.masquerade(),
                ),
                nft.rule(
                    family,
                    name,
                    "forward",
                    nft.iifname(name),
                    nft.oifname_begins(labels.UPLINK_PREFIX),
                    nft.verdict(nft.DROP),
                ),
            ]
        )
    if failures:
        raise NetworkError(f"masquerade {name}: {failures[0]}", hint="modprobe nft_masq")
