"""Other people's firewalls: forward chains that drop, and the rules that let one interface of ours through.

An accept in a table of our own does not help: every chain at a hook has to accept. So rules go into the
chain that drops, or, where Docker or iptables-minded people have provided it, into DOCKER-USER of the same
table, which Docker never flushes. They consist of interface, counter and accept, so that iptables prints
them as ``-A DOCKER-USER -i pc-... -j ACCEPT``.
"""

from __future__ import annotations

import errno
from typing import Any, NamedTuple

from compose.errors import NetworkError
from compose.network.kernel import nft
from compose.network.kernel.netlink import NETFILTER, Message, Netlink
from compose.network.kernel.pyroute import nftsocket
from compose.network.labels import UPLINK_PREFIX

_FAMILIES = {nft.INET: "inet", nft.IPV4: "ip", nft.IPV6: "ip6"}
_DIRECTIONS = {"NFT_META_IIFNAME": "in", "NFT_META_OIFNAME": "out"}
_USER_CHAIN = "DOCKER-USER"
_NO_MATCH = {"counter", "log"}
"""Expressions that let every packet go on to the next one."""


class Chain(NamedTuple):
    """A chain, by family, table and name."""

    family: int
    table: str
    name: str

    def __str__(self) -> str:
        return f"{_FAMILIES.get(self.family, self.family)} {self.table} {self.name}"


class Rule(NamedTuple):
    """A rule of ours in a foreign chain."""

    chain: Chain
    handle: int
    direction: str
    """``in`` or ``out``."""
    interface: str


def open_for(interface: str, *, ipv6: bool = False) -> list[Chain]:
    """Let forwarded packets of `interface` through every foreign chain that would drop them.

    Returns the chains that now hold a rule, whether put there now or before.
    """
    with Netlink(NETFILTER) as netlink:
        places = dropping(netlink, ipv6=ipv6)
        messages: list[Message] = []
        for place in places:
            there = {rule.direction for rule in rules_in(netlink, place) if rule.interface == interface}
            for direction, match in (("in", nft.iifname), ("out", nft.oifname)):
                if direction not in there:
                    messages.append(
                        nft.rule(
                            place.family,
                            place.table,
                            place.name,
                            match(interface),
                            nft.counter(),
                            nft.verdict(nft.ACCEPT),
                            first=True,
                        )
                    )
        failures = netlink.transaction(messages)
    if failures:
        listed = ", ".join(str(place) for place in places)
        raise NetworkError(
            f"containers cannot reach the outside: the firewall's chain {listed} drops what is forwarded, "
            f"and refuses our rule: {failures[0]}",
            hint=f'allow forwarding from and to the interface "{interface}" in your firewall',
        )
    return places


def dropping(netlink: Netlink, *, ipv6: bool) -> list[Chain]:
    """The chains that rules have to go into: one for each foreign forward chain that drops by default."""
    wanted = {nft.INET, nft.IPV4, nft.IPV6} if ipv6 else {nft.INET, nft.IPV4}
    found = _chains(netlink)
    places = []
    for chain, hook, policy in found:
        if hook != nft.FORWARD or chain.family not in wanted or chain.table.startswith(UPLINK_PREFIX):
            continue
        if policy != nft.DROP and not _ends_in_drop(netlink, chain):
            continue
        user = Chain(chain.family, chain.table, _USER_CHAIN)
        places.append(
            user if any(one == user for one, _, _ in found) and _jumps_to(netlink, chain, user) else chain
        )
    return list(dict.fromkeys(places))


def rules_of_ours(netlink: Netlink) -> list[Rule]:
    """All rules in foreign chains that name an interface of ours."""
    return [
        rule
        for chain, hook, _ in _chains(netlink)
        if chain.family in _FAMILIES and (hook == nft.FORWARD or chain.name == _USER_CHAIN)
        if not chain.table.startswith(UPLINK_PREFIX)
        for rule in rules_in(netlink, chain)
    ]


def close_for(interface: str) -> list[str]:
    """Take back all rules that name `interface`; returns what went wrong."""
    problems = []
    with Netlink(NETFILTER) as netlink:
        for rule in rules_of_ours(netlink):
            if rule.interface == interface:
                problems += delete(netlink, rule)
    return problems


def delete(netlink: Netlink, rule: Rule) -> list[str]:
    """Delete one rule of ours; one that is gone is no problem."""
    message = nft.delete_rule(rule.chain.family, rule.chain.table, rule.chain.name, rule.handle)
    return [str(failure) for failure in netlink.transaction([message]) if failure.number != errno.ENOENT]


def rules_in(netlink: Netlink, chain: Chain) -> list[Rule]:
    """The rules of a chain that begin by comparing an interface's name with one of ours."""
    found = []
    for rule in _rules(netlink, chain):
        expressions = _expressions(rule)
        if len(expressions) < 2 or expressions[0][0] != "meta" or expressions[1][0] != "cmp":
            continue
        direction = _DIRECTIONS.get(expressions[0][1].get_attr("NFTA_META_KEY"), "")
        data = expressions[1][1].get_attr("NFTA_CMP_DATA")
        name = (
            (data.get_attr("NFTA_DATA_VALUE") or b"").rstrip(b"\0").decode("ascii", "replace") if data else ""
        )
        if direction and name.startswith(UPLINK_PREFIX):
            found.append(Rule(chain, int(rule.get_attr("NFTA_RULE_HANDLE")), direction, name))
    return found


# -- reading ---------------------------------------------------------------------------------------------


def _chains(netlink: Netlink) -> list[tuple[Chain, int | None, int | None]]:
    """Every chain with its hook (None: it has none) and its policy."""
    found = []
    for one in netlink.dump(nft.dump_chains(), nftsocket.nft_chain_msg):
        chain = Chain(one["nfgen_family"], one.get_attr("NFTA_CHAIN_TABLE"), one.get_attr("NFTA_CHAIN_NAME"))
        place = one.get_attr("NFTA_CHAIN_HOOK")
        hook = place.get_attr("NFTA_HOOK_HOOKNUM") if place else None
        found.append((chain, hook, one.get_attr("NFTA_CHAIN_POLICY")))
    return found


def _rules(netlink: Netlink, chain: Chain) -> list[Any]:
    try:
        return netlink.dump(nft.dump_rules(*chain), nftsocket.nft_rule_msg)
    except NetworkError:  # the chain went while we looked
        return []


def _expressions(rule: Any) -> list[tuple[str, Any]]:
    """Name and data of each expression of a rule."""
    return [
        (one.get_attr("NFTA_EXPR_NAME"), one.get_attr("NFTA_EXPR_DATA"))
        for one in rule.get_attr("NFTA_RULE_EXPRESSIONS") or ()
    ]


def _verdict(data: Any) -> tuple[str, str]:
    """Code and chain of an immediate verdict; empty where it is another value."""
    value = data.get_attr("NFTA_IMMEDIATE_DATA") if data else None
    verdict = value.get_attr("NFTA_DATA_VERDICT") if value else None
    if not verdict:
        return "", ""
    return str(verdict.get_attr("NFTA_VERDICT_CODE")), verdict.get_attr("NFTA_VERDICT_CHAIN") or ""


def _ends_in_drop(netlink: Netlink, chain: Chain) -> bool:
    """Whether a rule without any condition drops or rejects, as firewalld's chains end."""
    for rule in _rules(netlink, chain):
        decisive = [one for one in _expressions(rule) if one[0] not in _NO_MATCH]
        if len(decisive) != 1:
            continue
        name, data = decisive[0]
        if name == "reject" or (name == "immediate" and _verdict(data)[0] == "NF_DROP"):
            return True
        if name == "target" and data.get_attr("NFTA_TARGET_NAME") in ("REJECT", "DROP"):
            return True
    return False


def _jumps_to(netlink: Netlink, chain: Chain, target: Chain) -> bool:
    return any(
        name == "immediate" and _verdict(data) == ("NFT_JUMP", target.name)
        for rule in _rules(netlink, chain)
        for name, data in _expressions(rule)
    )


def legacy_tables() -> bool:
    """Whether rules of the old iptables (not nftables) filter here; those we cannot change."""
    try:
        with open("/proc/thread-self/net/ip_tables_names") as file:
            return "filter" in file.read().split()
    except OSError:
        return False
