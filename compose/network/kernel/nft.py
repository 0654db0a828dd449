"""Rules of nftables, as messages of pyroute2's classes: only what we use, in the terms of `nft`.

A rule is a list of expressions; each loads something into a register, compares it, or acts. Names of
functions are nft's words: ``iifname("eth0")`` is the match ``iifname "eth0"``. pyroute2's own helpers are not
used: ``ipv4addr()`` builds wrong masks for prefixes that are no multiple of 8 (0.9.7).
"""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

from compose.network.kernel.netlink import (
    DUMP,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    Message,
    message,
)
from compose.network.kernel.pyroute import nftsocket

if TYPE_CHECKING:
    from collections.abc import Sequence

Expression = dict[str, Any]

INET, IPV4, IPV6 = 1, 2, 10
"""Families of tables: both, only IPv4, only IPv6 (NFPROTO_*)."""

PREROUTING, FORWARD, OUTPUT, POSTROUTING = 0, 2, 3, 4
DROP, ACCEPT = 0, 1
PRIORITY_MANGLE, PRIORITY_DNAT, PRIORITY_FILTER, PRIORITY_SNAT = -150, -100, 0, 100

_SUBSYSTEM = 10 << 8
_ADD = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE
_REGISTER, _SECOND_NAME = 1, 2  # 16 bytes each
_IFNAME_TYPE = 41
_META_MARK, _META_IIFNAME, _META_OIFNAME, _META_L4PROTO = 3, 6, 7, 16
_CT_STATE = 0
_ESTABLISHED_RELATED = 2 | 4
_NAME_SIZE = 16


def _request(
    what: str,
    kind: type,
    number: int,
    flags: int,
    family: int,
    attributes: Sequence[tuple[str, Any]],
) -> Message:
    return message(what, kind, _SUBSYSTEM | number, flags, {"nfgen_family": family}, attributes)


def table(family: int, name: str) -> Message:
    """Add a table; one that is there stays as it is."""
    return _request(
        f"add table {name}",
        nftsocket.nft_table_msg,
        nftsocket.NFT_MSG_NEWTABLE,
        _ADD,
        family,
        [("NFTA_TABLE_NAME", name)],
    )


def delete_table(family: int, name: str) -> Message:
    """Delete a table and all that is in it."""
    return _request(
        f"delete table {name}",
        nftsocket.nft_table_msg,
        nftsocket.NFT_MSG_DELTABLE,
        NLM_F_REQUEST | NLM_F_ACK,
        family,
        [("NFTA_TABLE_NAME", name)],
    )


def chain(
    family: int, table_name: str, name: str, *, kind: str, hook: int, priority: int, policy: int = ACCEPT
) -> Message:
    """Add a base chain (`kind` filter or nat); one that is there stays."""
    place = {"attrs": [("NFTA_HOOK_HOOKNUM", hook), ("NFTA_HOOK_PRIORITY", priority)]}
    attributes = [
        ("NFTA_CHAIN_TABLE", table_name),
        ("NFTA_CHAIN_NAME", name),
        ("NFTA_CHAIN_HOOK", place),
        ("NFTA_CHAIN_POLICY", policy),
        ("NFTA_CHAIN_TYPE", kind),
    ]
    return _add_chain(family, table_name, name, attributes)


def plain_chain(family: int, table_name: str, name: str) -> Message:
    """Add a chain that nothing leads to; one that is there stays."""
    attributes = [("NFTA_CHAIN_TABLE", table_name), ("NFTA_CHAIN_NAME", name)]
    return _add_chain(family, table_name, name, attributes)


def _add_chain(family: int, table_name: str, name: str, attributes: Sequence[tuple[str, Any]]) -> Message:
    return _request(
        f"add chain {table_name} {name}",
        nftsocket.nft_chain_msg,
        nftsocket.NFT_MSG_NEWCHAIN,
        _ADD,
        family,
        attributes,
    )


def get_chain(family: int, table_name: str, name: str) -> Message:
    """Ask for one chain; ENOENT when it, or its table, is not there."""
    attributes = [("NFTA_CHAIN_TABLE", table_name), ("NFTA_CHAIN_NAME", name)]
    return _request(
        f"get chain {table_name} {name}",
        nftsocket.nft_chain_msg,
        nftsocket.NFT_MSG_GETCHAIN,
        NLM_F_REQUEST | NLM_F_ACK,
        family,
        attributes,
    )


def rule(
    family: int, table_name: str, chain_name: str, *expressions: Sequence[Expression], first: bool = False
) -> Message:
    """Add a rule at the end of a chain, or as its `first`."""
    flat = [expression for group in expressions for expression in group]
    attributes = [
        ("NFTA_RULE_TABLE", table_name),
        ("NFTA_RULE_CHAIN", chain_name),
        ("NFTA_RULE_EXPRESSIONS", flat),
    ]
    return _request(
        f"add rule to {table_name} {chain_name}",
        nftsocket.nft_rule_msg,
        nftsocket.NFT_MSG_NEWRULE,
        _ADD if first else _ADD | NLM_F_APPEND,
        family,
        attributes,
    )


def delete_rule(family: int, table_name: str, chain_name: str, handle: int) -> Message:
    """Delete one rule."""
    attributes = [
        ("NFTA_RULE_TABLE", table_name),
        ("NFTA_RULE_CHAIN", chain_name),
        ("NFTA_RULE_HANDLE", handle),
    ]
    return _request(
        f"delete rule from {table_name} {chain_name}",
        nftsocket.nft_rule_msg,
        nftsocket.NFT_MSG_DELRULE,
        NLM_F_REQUEST | NLM_F_ACK,
        family,
        attributes,
    )


def flush_chain(family: int, table_name: str, name: str) -> Message:
    """Delete all rules of a chain."""
    return _request(
        f"flush chain {table_name} {name}",
        nftsocket.nft_rule_msg,
        nftsocket.NFT_MSG_DELRULE,
        NLM_F_REQUEST | NLM_F_ACK,
        family,
        [("NFTA_RULE_TABLE", table_name), ("NFTA_RULE_CHAIN", name)],
    )


def interface_pair_set(family: int, table_name: str, name: str) -> Message:
    """Add a set whose elements are pairs of interface names (``type ifname . ifname``)."""
    attributes = [
        ("NFTA_SET_TABLE", table_name),
        ("NFTA_SET_NAME", name),
        ("NFTA_SET_ID", 1),
        ("NFTA_SET_FLAGS", set()),
        ("NFTA_SET_KEY_TYPE", (_IFNAME_TYPE << 6) | _IFNAME_TYPE),
        ("NFTA_SET_KEY_LEN", 2 * _NAME_SIZE),
    ]
    return _request(
        f"add set {table_name} {name}",
        nftsocket.nft_set_msg,
        nftsocket.NFT_MSG_NEWSET,
        _ADD,
        family,
        attributes,
    )


def _elements(
    family: int,
    table_name: str,
    name: str,
    pairs: Sequence[tuple[str, str]],
    number: int,
    flags: int,
    what: str,
) -> Message:
    elements = [
        {"attrs": [("NFTA_SET_ELEM_KEY", {"attrs": [("NFTA_DATA_VALUE", _name(first) + _name(second))]})]}
        for first, second in pairs
    ]
    attributes = [
        ("NFTA_SET_ELEM_LIST_TABLE", table_name),
        ("NFTA_SET_ELEM_LIST_SET", name),
        ("NFTA_SET_ELEM_LIST_ELEMENTS", elements),
    ]
    return _request(what, nftsocket.nft_set_elem_list_msg, number, flags, family, attributes)


def add_pairs(family: int, table_name: str, name: str, pairs: Sequence[tuple[str, str]]) -> Message:
    """Add pairs of interfaces to a set; those that are in it stay."""
    return _elements(
        family, table_name, name, pairs, nftsocket.NFT_MSG_NEWSETELEM, _ADD, f"add to set {table_name} {name}"
    )


def delete_pairs(family: int, table_name: str, name: str, pairs: Sequence[tuple[str, str]]) -> Message:
    """Take pairs of interfaces out of a set; ENOENT when one is not in it."""
    return _elements(
        family,
        table_name,
        name,
        pairs,
        nftsocket.NFT_MSG_DELSETELEM,
        NLM_F_REQUEST | NLM_F_ACK,
        f"delete from set {table_name} {name}",
    )


def dump_chains() -> Message:
    """Ask for all chains of all families."""
    return _request("list chains", nftsocket.nft_chain_msg, nftsocket.NFT_MSG_GETCHAIN, DUMP, 0, [])


def dump_tables() -> Message:
    """Ask for all tables of all families."""
    return _request("list tables", nftsocket.nft_table_msg, nftsocket.NFT_MSG_GETTABLE, DUMP, 0, [])


def dump_rules(family: int, table_name: str, chain_name: str) -> Message:
    """Ask for the rules of one chain."""
    return _request(
        f"list chain {table_name} {chain_name}",
        nftsocket.nft_rule_msg,
        nftsocket.NFT_MSG_GETRULE,
        DUMP,
        family,
        [("NFTA_RULE_TABLE", table_name), ("NFTA_RULE_CHAIN", chain_name)],
    )


# -- expressions ------------------------------------------------------------------------------------------


def _expression(name: str, **values: Any) -> Expression:
    data = [(f"NFTA_{name.upper()}_{key.upper()}", value) for key, value in values.items()]
    return {"attrs": [("NFTA_EXPR_NAME", name), ("NFTA_EXPR_DATA", {"attrs": data})]}


def _value(data: bytes) -> dict[str, Any]:
    return {"attrs": [("NFTA_DATA_VALUE", data)]}


def _name(interface: str) -> bytes:
    return interface.encode().ljust(_NAME_SIZE, b"\0")


def _compare(data: bytes, *, equal: bool = True) -> Expression:
    return _expression("cmp", sreg=_REGISTER, op=0 if equal else 1, data=_value(data))


def iifname(interface: str) -> list[Expression]:
    """The interface it came in by; in the form that iptables can print (compared with its final NUL)."""
    return [_expression("meta", key=_META_IIFNAME, dreg=_REGISTER), _compare(interface.encode() + b"\0")]


def oifname(interface: str, *, equal: bool = True) -> list[Expression]:
    """The interface it goes out by, or not `equal`: any other."""
    return [
        _expression("meta", key=_META_OIFNAME, dreg=_REGISTER),
        _compare(interface.encode() + b"\0", equal=equal),
    ]


def interfaces_in(name: str) -> list[Expression]:
    """``iifname . oifname @NAME``."""
    return [
        _expression("meta", key=_META_IIFNAME, dreg=_REGISTER),
        _expression("meta", key=_META_OIFNAME, dreg=_SECOND_NAME),
        _expression("lookup", set=name, sreg=_REGISTER),
    ]


def saddr(address: str) -> list[Expression]:
    """One source address, IPv4 or IPv6."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    offset = 8 if family == socket.AF_INET6 else 12
    return [
        _expression("payload", dreg=_REGISTER, base=1, offset=offset, len=len(packed)),
        _compare(packed),
    ]


def daddr(address: str) -> list[Expression]:
    """One IPv4 destination address."""
    return [
        _expression("payload", dreg=_REGISTER, base=1, offset=16, len=4),
        _compare(socket.inet_aton(address)),
    ]


def dport(protocol: int, port: int) -> list[Expression]:
    """The transport (socket.IPPROTO_TCP or _UDP) and its destination port."""
    return [
        _expression("meta", key=_META_L4PROTO, dreg=_REGISTER),
        _compare(bytes([protocol])),
        _expression("payload", dreg=_REGISTER, base=2, offset=2, len=2),
        _compare(port.to_bytes(2, "big")),
    ]


def established() -> list[Expression]:
    """``ct state established,related``."""
    mask = _ESTABLISHED_RELATED.to_bytes(4, sys.byteorder)
    return [
        _expression("ct", key=_CT_STATE, dreg=_REGISTER),
        _expression(
            "bitwise", sreg=_REGISTER, dreg=_REGISTER, len=4, mask=_value(mask), xor=_value(bytes(4))
        ),
        _compare(bytes(4), equal=False),
    ]


def transparent_socket() -> list[Expression]:
    """``socket transparent 1``: it belongs to a socket of ours that is bound to a foreign address."""
    return [_expression("socket", key=0, dreg=_REGISTER), _compare(b"\1")]


def set_mark(mark: int) -> list[Expression]:
    """``meta mark set MARK``."""
    data = mark.to_bytes(4, sys.byteorder)
    return [
        _expression("immediate", dreg=_REGISTER, data=_value(data)),
        _expression("meta", key=_META_MARK, sreg=_REGISTER),
    ]


def counter() -> list[Expression]:
    return [_expression("counter", bytes=0, packets=0)]


def verdict(code: int) -> list[Expression]:
    """``accept`` or ``drop``."""
    return [
        _expression(
            "immediate",
            dreg=0,
            data={"attrs": [("NFTA_DATA_VERDICT", {"attrs": [("NFTA_VERDICT_CODE", code)]})]},
        )
    ]


def masquerade() -> list[Expression]:
    return [_expression("masq")]


def dnat(address: str, port: int) -> list[Expression]:
    """``dnat to ADDRESS:PORT``, in a chain of an IPv4 table."""
    return [
        _expression("immediate", dreg=_REGISTER, data=_value(socket.inet_aton(address))),
        _expression("immediate", dreg=_SECOND_NAME, data=_value(port.to_bytes(2, "big"))),
        _expression("nat", type=1, family=IPV4, reg_addr_min=_REGISTER, reg_proto_min=_SECOND_NAME),
    ]


def oifname_begins(prefix: str) -> list[Expression]:
    """``oifname "PREFIX*"``."""
    return [_expression("meta", key=_META_OIFNAME, dreg=_REGISTER), _compare(prefix.encode())]
