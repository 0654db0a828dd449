"""Who has which name in which network, from the endpoint files below ``RUN/networks/``.

    networks/NETWORK/SLOT.json     one file an endpoint, SLOT = PROJECT.SERVICE.NUMBER
      {"container": id, "project": ..., "service": ..., "ipv4": "10.1.2.3", "names": ["web", ...],
       "ipv6": "fd00::3",            optional; without it AAAA of these names is answered with no data
       "internal": false,            the network has no way out
       "extra": {"network": NAME,    then NAME.NETWORK resolves as well
                 "links": {ALIAS: NAME},    names that only this container sees
                 "dns": ["10.0.0.53"],      whom this container asks for all other names
                 "sandbox": PROJECT}}       whose network it is, when it is another project's

A container may ask for the names of every network that has a file with its id, and only for those. A
project's name service loads just the networks that its own containers are in. A damaged file is no endpoint,
and the others stay.
"""

from __future__ import annotations

import _socket
import os

from compose.network.netd import names
from compose.state.files import read_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Endpoint:
    """One container in one network."""

    __slots__ = (
        "container",
        "internal",
        "ipv4",
        "ipv6",
        "links",
        "names",
        "preferred",
        "resolvers",
        "sandbox",
    )

    def __init__(
        self,
        container: str,
        ipv4: str,
        ipv6: str,
        own: tuple[str, ...],
        internal: bool,
        links: dict[str, str],
        preferred: str,
        resolvers: tuple[str, ...],
        sandbox: str,
    ) -> None:
        self.container = container
        self.ipv4 = ipv4
        self.ipv6 = ipv6
        self.names = own
        self.internal = internal
        self.links = links
        self.preferred = preferred
        self.resolvers = resolvers
        self.sandbox = sandbox


class Network:
    """The endpoints of one network by slot, and what follows from them."""

    __slots__ = ("addresses", "addresses6", "endpoints", "reverse")

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.addresses: dict[str, list[bytes]] = {}  # name -> A records
        self.addresses6: dict[str, list[bytes]] = {}  # name -> AAAA records
        self.reverse: dict[str, bytes] = {}  # address -> PTR record

    def index(self) -> None:
        """Make the tables anew from the endpoints, in the order of their slots."""
        self.addresses, self.addresses6, self.reverse = {}, {}, {}
        for slot in sorted(self.endpoints):
            endpoint = self.endpoints[slot]
            record = names.address(endpoint.ipv4)
            for name in endpoint.names:
                self.addresses.setdefault(name, []).append(record)
                if endpoint.ipv6:
                    self.addresses6.setdefault(name, []).append(names.address6(endpoint.ipv6))
            if endpoint.preferred and (pointer := names.pointer(endpoint.preferred)):
                self.reverse[endpoint.ipv4] = pointer


class View:
    """What one container may ask."""

    __slots__ = ("external", "links", "networks", "resolvers", "sandboxes")

    def __init__(self) -> None:
        self.networks: list[Network] = []
        self.links: dict[str, str] = {}
        self.resolvers: tuple[str, ...] = ()  # its own; none: those of the host
        self.sandboxes: tuple[str, ...] = ()  # other projects with a network of its that has a way out
        self.external = False  # it has a network with a way out


NOTHING = View()


def endpoint_from(value: object, slot: str) -> Endpoint | None:
    """The endpoint that the JSON `value` describes; None when it describes none."""
    if not isinstance(value, dict):
        return None
    container, ipv4, own = value.get("container"), value.get("ipv4"), value.get("names")
    if not isinstance(container, str) or not isinstance(ipv4, str) or not isinstance(own, list):
        return None
    ipv4 = _normal(_socket.AF_INET, ipv4)
    if not ipv4:
        return None
    extra = value.get("extra")
    if not isinstance(extra, dict):
        extra = {}
    lower = [name.lower().rstrip(".") for name in own if isinstance(name, str) and name]
    network, links, resolvers = extra.get("network"), extra.get("links"), extra.get("dns")
    if isinstance(network, str) and network:
        lower += [f"{name}.{network.lower()}" for name in lower if "." not in name]
    if not isinstance(links, dict):
        links = {}
    return Endpoint(
        container,
        ipv4,
        _normal(_socket.AF_INET6, str(value.get("ipv6") or "")),
        tuple(dict.fromkeys(lower)),
        value.get("internal") is True,
        {str(alias).lower(): str(name).lower() for alias, name in links.items()},
        _preferred(lower, slot, network if isinstance(network, str) else ""),
        tuple(map(str, resolvers)) if isinstance(resolvers, list) else (),
        str(extra.get("sandbox") or ""),
    )


def _normal(family: int, text: str) -> str:
    """The address as the kernel writes it; empty when `text` is none."""
    try:
        return _socket.inet_ntop(family, _socket.inet_pton(family, text.partition("/")[0]))
    except (OSError, ValueError):
        return ""


def _preferred(own: list[str], slot: str, network: str) -> str:
    """The name that an address is told to have: the container's own, with its network, as under Docker."""
    if not own:
        return ""
    usual = slot.replace(".", "-").lower()
    name = usual if usual in own else own[0]
    return f"{name}.{network.lower()}" if network else name


class Table:
    """All that a project's name service knows, kept by calls that say what changed on disk.

    `watch` is called with the name of each network directory before it is read.
    """

    __slots__ = ("_root", "_turn", "_views", "_watch", "networks", "prefix", "unread")

    def __init__(self, root: str, project: str, watch: Callable[[str], None] = lambda network: None) -> None:
        self.networks: dict[str, Network] = {}
        self.unread: OSError | None = None
        """Why something that is there could not be read, for want of descriptors perhaps: `load` again."""
        self.prefix = f"{project}."
        self._root = root
        self._watch = watch
        self._views: dict[str, View] = {}
        self._turn = 0

    def load(self) -> None:
        """Read everything from the beginning."""
        self.unread = None
        try:
            found = os.listdir(self._root)
        except FileNotFoundError:
            found = []
        except OSError as error:
            self.unread = error
            return
        for network in [*self.networks]:
            if network not in found:
                self.removed(network)
        for network in found:
            self.load_network(network)

    def load_network(self, network: str) -> None:
        """Read one network's directory; it stays out while no container of our project is in it."""
        try:
            self._watch(network)
        except (FileNotFoundError, NotADirectoryError):
            self.removed(network)
            return
        except OSError as error:
            self.unread = error
        try:
            files = [name for name in os.listdir(f"{self._root}/{network}") if name.endswith(".json")]
        except (FileNotFoundError, NotADirectoryError):
            self.removed(network)
            return
        except OSError as error:
            self.unread = error
            return
        if not any(name.startswith(self.prefix) for name in files):
            self.removed(network)
            return
        known = Network()
        if former := self.networks.get(network):
            known.endpoints = {slot: one for slot, one in former.endpoints.items() if f"{slot}.json" in files}
        self.networks[network] = known
        for name in files:
            self._read(network, known, name)
        known.index()
        self._views.clear()

    def changed(self, network: str, files: set[str]) -> None:
        """Read these files of a network again; one that is not there any more is an endpoint no more."""
        known = self.networks.get(network)
        if known is None:
            if any(name.startswith(self.prefix) for name in files):
                self.load_network(network)
            return
        for name in files:
            if name.endswith(".json"):
                self._read(network, known, name)
        if not any(slot.startswith(self.prefix) for slot in known.endpoints):
            del self.networks[network]
        known.index()
        self._views.clear()

    def removed(self, network: str) -> None:
        """Forget a network."""
        if self.networks.pop(network, None) is not None:
            self._views.clear()

    def _read(self, network: str, known: Network, name: str) -> None:
        slot = name.removesuffix(".json")
        try:
            endpoint = endpoint_from(read_json(f"{self._root}/{network}/{name}"), slot)
        except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
            endpoint = None
        except OSError as error:
            self.unread = error
            return
        if endpoint is None:
            known.endpoints.pop(slot, None)
        else:
            known.endpoints[slot] = endpoint

    def view(self, container: str) -> View:
        """What `container` may ask."""
        if not self._views:
            self._index_views()
        return self._views.get(container, NOTHING)

    def _index_views(self) -> None:
        for identity in sorted(self.networks):
            network = self.networks[identity]
            for endpoint in network.endpoints.values():
                view = self._views.get(endpoint.container)
                if view is None:
                    view = self._views[endpoint.container] = View()
                if network not in view.networks:
                    view.networks.append(network)
                view.links.update(endpoint.links)
                view.resolvers = view.resolvers or endpoint.resolvers
                view.external = view.external or not endpoint.internal
                if endpoint.sandbox and not endpoint.internal:
                    view.sandboxes += (endpoint.sandbox,)

    def addresses(self, view: View, name: str, kind: int = names.A) -> list[bytes] | None:
        """The A or AAAA records of `name`, beginning with another one each time; empty when there are none of
        this kind, None when the name is none of ours."""
        name = view.links.get(name, name)
        found: list[bytes] = []
        ours = False
        for network in view.networks:
            ours = ours or name in network.addresses
            records = network.addresses6 if kind == names.AAAA else network.addresses
            found += [record for record in records.get(name, ()) if record not in found]
        if len(found) > 1:
            self._turn = turn = (self._turn + 1) & 0xFFFF
            turn %= len(found)
            return found[turn:] + found[:turn]
        return found if ours else None

    def pointer(self, view: View, text: str) -> bytes:
        """The PTR record of address `text`; empty when it is none of ours."""
        for network in view.networks:
            if record := network.reverse.get(text):
                return record
        return b""


def answer(
    table: Table, view: View, message: bytes, host: Callable[[Sequence[str]], str], *, limit: int = 0
) -> bytes | names.Question | None:
    """The reply to `message` of a container with `view`, the question if it is for the host's resolvers,
    or None for silence.

    `host` tells the address of ``host.docker.internal`` ("" for none) for a container in the sandboxes of
    other projects; `limit` is the most that the client takes in bytes, 0 for what it says itself.
    """
    question = names.parse(message)
    if question is None:
        return None
    if isinstance(question, int):
        return names.failure(message, question)
    limit = limit or question.size
    if question.edns and question.version:
        return names.reply(message, question, names.BAD_VERSION, limit=limit)
    if question.cls not in (names.IN, names.ANY):
        return names.reply(message, question, names.REFUSED, limit=limit)
    records = _own(table, view, question, host)
    if records is not None:
        return names.reply(message, question, names.NO_ERROR, records, limit=limit)
    if question.labels == 1 or question.name in HOST_NAMES or not view.external:
        # For a container without a way out no name outside exists. REFUSED or SERVFAIL would say it better,
        # but musl and glibc then wait and ask again.
        return names.reply(message, question, names.NO_SUCH_NAME, limit=limit)
    return question


HOST_NAMES = ("host.docker.internal", "gateway.docker.internal")


def _own(
    table: Table, view: View, question: names.Question, host: Callable[[Sequence[str]], str]
) -> list[bytes] | None:
    """The records of a name or address of ours, an empty list for no data, None when it is not ours."""
    name, kind = question.name, question.kind
    records = table.addresses(view, name, kind)
    if records is not None:
        return records if kind in (names.A, names.AAAA, names.ANY) else []
    if kind == names.PTR and (text := names.reverse_address(name)):
        record = table.pointer(view, text)
        return [record] if record else None
    if name in HOST_NAMES and view.external:
        try:
            record = names.address(host(view.sandboxes))
        except OSError:
            return None
        return [record] if kind in (names.A, names.ANY) else []
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761, 6.3
        return {names.A: [names.address("127.0.0.1")], names.AAAA: [names.address6("::1")]}.get(kind, [])
    return None
