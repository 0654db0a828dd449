"""pyroute2's message classes without the rest of pyroute2.

``import pyroute2`` loads 370 modules (asyncio, multiprocessing, its database, its servers), whichever part of
it is wanted, which takes four times as long as the 130 that the message classes need. So two stand-ins take
the places of the package's own module and of its event-loop sockets while the classes are imported, and all
of it vanishes again: whoever imports pyroute2 afterwards in the same process gets the real one. Where this
does not work, as with another version, the classes are imported in the ordinary way.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any

_PACKAGE = "pyroute2"
_SOCKETS = "pyroute2.netlink.nlsocket"
_NFT = "pyroute2.netlink.nfnetlink.nftsocket"


def _import() -> tuple[Any, ...]:
    names = [
        "pyroute2.netlink.rtnl.ifinfmsg",
        "pyroute2.netlink.rtnl.ifaddrmsg",
        "pyroute2.netlink.rtnl.rtmsg",
        "pyroute2.netlink.rtnl.fibmsg",
        _NFT,
    ]
    return tuple(importlib.import_module(name) for name in names)


def _import_alone() -> tuple[Any, ...]:
    specification = importlib.util.find_spec(_PACKAGE)
    if specification is None or specification.submodule_search_locations is None:
        raise ImportError(_PACKAGE)
    package = types.ModuleType(_PACKAGE)
    package.__path__ = list(specification.submodule_search_locations)
    package.__spec__ = specification
    sockets = types.ModuleType(_SOCKETS)
    for name in ("AsyncNetlinkSocket", "NetlinkSocket"):  # what nftsocket derives its own sockets from
        setattr(sockets, name, type(name, (), {}))
    sys.modules[_PACKAGE] = package
    sys.modules[_SOCKETS] = sockets
    try:
        return _import()
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
            del sys.modules[name]


def load(*, alone: bool = True) -> tuple[Any, ...]:
    """The modules of links, addresses, routes, policy rules and nftables, in this order."""
    if alone and _PACKAGE not in sys.modules:
        try:
            return _import_alone()
        except Exception:  # whatever it is, the ordinary way tells it better
            pass
    return _import()


_links, _addresses, _routes, _rules, nftsocket = load()
ifinfmsg: Any = _links.ifinfmsg
ifaddrmsg: Any = _addresses.ifaddrmsg
rtmsg: Any = _routes.rtmsg
fibmsg: Any = _rules.fibmsg
