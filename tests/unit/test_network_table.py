"""Which container gets which answer, from endpoint files."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.network.netd import names
from compose.network.netd.table import Table, answer, endpoint_from
from compose.state.files import replace_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WEB, DB, FOREIGN = "a" * 64, "b" * 64, "f" * 64
HOST = "172.30.0.1"


class World:
    """A directory of networks, and what netd would do with its changes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.watched: list[str] = []
        self.table = Table(str(root), "shop", self.watched.append)

    def endpoint(self, network: str, slot: str, container: str, ipv4: str, *own: str, **more: object) -> None:
        directory = self.root / network
        directory.mkdir(exist_ok=True)
        project, service, _ = slot.split(".")
        value = {"container": container, "project": project, "service": service, "ipv4": ipv4, "names": own}
        replace_json(f"{directory}/{slot}.json", value | more, durable=False)

    def ask(self, container: str, name: str, kind: int = names.A) -> list[str] | int | None:
        """Addresses, a response code, or None when the host's resolvers are to be asked."""
        message = names.query(name, kind)
        found = answer(self.table, self.table.view(container), message, lambda sandboxes: HOST)
        if isinstance(found, names.Question):
            return None
        assert found is not None
        if found[3] & 15:
            return found[3] & 15
        count = found[6] << 8 | found[7]
        data = found[len(message) :]
        size = {names.AAAA: 28}.get(kind, 16)
        family = socket.AF_INET6 if kind == names.AAAA else socket.AF_INET
        assert len(data) == count * size
        ends = range(size, len(data) + 1, size)
        return sorted(socket.inet_ntop(family, data[end - size + 12 : end]) for end in ends)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.endpoint("front", "shop.web.1", WEB, "10.1.0.2", "web", "shop-web-1", "www.shop.test")
    made.endpoint("back", "shop.web.1", WEB, "10.2.0.2", "web", "shop-web-1", internal=True)
    made.endpoint("back", "shop.db.1", DB, "10.2.0.3", "db", "shop-db-1", internal=True)
    made.endpoint("other", "blog.db.1", FOREIGN, "10.3.0.3", "db", "blog-db-1")
    made.table.load()
    return made


def test_names_of_all_own_networks_and_of_no_other(world: World) -> None:
    assert world.ask(WEB, "db") == ["10.2.0.3"]
    assert world.ask(WEB, "WEB") == ["10.1.0.2", "10.2.0.2"]
    assert world.ask(WEB, "www.shop.test") == ["10.1.0.2"]
    assert world.ask(DB, "web") == ["10.2.0.2"]
    assert world.ask(DB, "www.shop.test") == names.NO_SUCH_NAME
    assert world.ask(WEB, "blog-db-1") == names.NO_SUCH_NAME
    assert world.ask("0" * 64, "db") == names.NO_SUCH_NAME
    assert set(world.table.networks) == {"front", "back"}
    assert set(world.watched) == {"front", "back", "other"}


def test_other_types_of_our_names_have_no_data_and_are_not_forwarded(world: World) -> None:
    for kind in (names.AAAA, 15, 33, 65):
        assert world.ask(WEB, "db", kind) == []
        assert world.ask(WEB, "www.shop.test", kind) == []
    assert world.ask(WEB, "db", names.ANY) == ["10.2.0.3"]


def test_ipv6_where_an_endpoint_has_it(world: World) -> None:
    world.endpoint("back", "shop.db.1", DB, "10.2.0.3", "db", ipv6="fd00:0::3", internal=True)
    world.table.changed("back", {"shop.db.1.json"})
    assert world.ask(WEB, "db", names.AAAA) == ["fd00::3"]
    assert world.ask(WEB, "db") == ["10.2.0.3"]


def test_single_labels_are_never_forwarded_and_others_are(world: World) -> None:
    assert world.ask(WEB, "fileserver") == names.NO_SUCH_NAME
    assert world.ask(WEB, "com", 2) == names.NO_SUCH_NAME
    assert world.ask(WEB, "example.org") is None
    assert world.ask(WEB, "web.example.org") is None


def test_no_way_out_no_names_outside(world: World) -> None:
    assert world.ask(DB, "example.org") == names.NO_SUCH_NAME
    assert world.ask(DB, "host.docker.internal") == names.NO_SUCH_NAME
    assert world.ask(DB, "4.3.2.1.in-addr.arpa", names.PTR) == names.NO_SUCH_NAME


def test_the_host(world: World) -> None:
    assert world.ask(WEB, "host.docker.internal") == [HOST]
    assert world.ask(WEB, "host.docker.internal", names.AAAA) == []
    message = names.query("host.docker.internal")
    found = answer(world.table, world.table.view(WEB), message, lambda sandboxes: "")
    assert isinstance(found, bytes) and found[3] & 15 == names.NO_SUCH_NAME


def test_localhost(world: World) -> None:
    assert world.ask(DB, "localhost") == ["127.0.0.1"]
    assert world.ask(DB, "app.localhost", names.AAAA) == ["::1"]


def test_reverse(world: World) -> None:
    message = names.query("3.0.2.10.in-addr.arpa", names.PTR)
    found = answer(world.table, world.table.view(WEB), message, lambda sandboxes: HOST)
    assert isinstance(found, bytes)
    assert found.endswith(names.wire_name("shop-db-1"))
    assert world.ask(WEB, "3.0.3.10.in-addr.arpa", names.PTR) is None  # another project's: as any address


def test_names_with_their_network(world: World) -> None:
    extra = {"network": "shop_back", "links": {"store": "db"}}
    world.endpoint("back", "shop.web.1", WEB, "10.2.0.2", "web", "shop-web-1", extra=extra, internal=True)
    world.table.changed("back", {"shop.web.1.json"})
    assert world.ask(DB, "web.shop_back") == ["10.2.0.2"]
    assert world.ask(WEB, "store") == ["10.2.0.3"]
    assert world.ask(DB, "store") == names.NO_SUCH_NAME
    message = names.query("2.0.2.10.in-addr.arpa", names.PTR)
    found = answer(world.table, world.table.view(DB), message, lambda sandboxes: HOST)
    assert isinstance(found, bytes) and found.endswith(names.wire_name("shop-web-1.shop_back"))


def test_replicas_take_turns(world: World) -> None:
    for number in range(2, 5):
        world.endpoint("back", f"shop.db.{number}", DB, f"10.2.0.{10 + number}", "db", internal=True)
    world.table.load_network("back")
    view = world.table.view(WEB)
    rounds = [world.table.addresses(view, "db") for _ in range(4)]
    assert len({records[0] for records in rounds if records}) == 4
    assert all(records and len(set(records)) == 4 for records in rounds)


def test_changes_on_disk(world: World) -> None:
    world.endpoint("front", "shop.api.1", "c" * 64, "10.1.0.9", "api")
    world.table.changed("front", {"shop.api.1.json"})
    assert world.ask(WEB, "api") == ["10.1.0.9"]
    os.unlink(world.root / "front/shop.api.1.json")
    world.table.changed("front", {"shop.api.1.json", "shop.api.1.json.7.tmp"})
    assert world.ask(WEB, "api") == names.NO_SUCH_NAME


def test_networks_come_and_go(world: World) -> None:
    world.endpoint("other", "shop.web.1", WEB, "10.3.0.9", "web")
    world.table.changed("other", {"shop.web.1.json"})
    assert world.ask(WEB, "blog-db-1") == ["10.3.0.3"]
    os.unlink(world.root / "other/shop.web.1.json")
    world.table.changed("other", {"shop.web.1.json"})
    assert "other" not in world.table.networks
    assert world.ask(WEB, "blog-db-1") == names.NO_SUCH_NAME
    shutil.rmtree(world.root / "back")
    world.table.load()
    assert world.ask(WEB, "db") == names.NO_SUCH_NAME
    assert world.ask(WEB, "web") == ["10.1.0.2"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"container": 1, "ipv4": "10.2.0.8", "names": []}',
        b'{"container": "x", "ipv4": "10.2.0.256", "names": []}',
        b'{"container": "x", "ipv4": "10.2.0.8", "names": "db"}',
    ],
)
def test_a_damaged_file_is_no_endpoint_and_harms_no_other(world: World, content: bytes) -> None:
    (world.root / "back" / "shop.web.9.json").write_bytes(content)
    world.table.changed("back", {"shop.web.9.json"})
    assert world.ask(WEB, "db") == ["10.2.0.3"]
    world.table.load()
    assert world.ask(WEB, "db") == ["10.2.0.3"]


def test_a_directory_in_the_place_of_a_file(world: World) -> None:
    (world.root / "back" / "shop.api.1.json").mkdir()
    world.table.load()
    assert world.ask(WEB, "db") == ["10.2.0.3"]


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Whoever opens something meanwhile gets EMFILE."""
    former = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, former)


def test_what_could_not_be_read_is_known_on_and_read_again(world: World) -> None:
    world.endpoint("front", "shop.api.1", "c" * 64, "10.1.0.9", "api")
    os.unlink(world.root / "back/shop.db.1.json")
    for change in (world.table.load, lambda: world.table.changed("front", {"shop.web.1.json"})):
        world.table.unread = None
        with no_descriptor_left():
            change()
        assert world.table.unread is not None
        assert world.ask(WEB, "db") == ["10.2.0.3"]
        assert world.ask(DB, "web") == ["10.2.0.2"]
    world.table.load()
    assert world.table.unread is None
    assert world.ask(WEB, "api") == ["10.1.0.9"]
    assert world.ask(WEB, "db") == names.NO_SUCH_NAME


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
keys = ("container", "ipv4", "ipv6", "names", "extra", "internal")


@given(st.fixed_dictionaries({}, optional={key: json_like | st.just("10.0.0.1") for key in keys}))
def test_no_json_makes_an_endpoint_raise(value: dict[str, object]) -> None:
    endpoint_from(value, "shop.web.1")


@given(st.binary(max_size=200))
def test_no_message_raises(message: bytes) -> None:
    table = Table("/nowhere", "shop")
    answer(table, table.view(WEB), message, lambda sandboxes: HOST)


def test_a_class_that_is_not_in_is_refused(world: World) -> None:
    message = names.query("version.bind", 16)[:-1] + b"\3"
    found = answer(world.table, world.table.view(WEB), message, lambda sandboxes: HOST)
    assert isinstance(found, bytes) and found[3] & 15 == names.REFUSED


def test_a_container_with_resolvers_of_its_own(world: World) -> None:
    world.endpoint("n1", "shop.web.1", WEB, "10.1.0.2", "web", extra={"dns": ["10.1.0.53", "fd00::53"]})
    world.endpoint("n1", "shop.db.1", DB, "10.1.0.3", "db", extra={"dns": "10.1.0.53"})
    world.endpoint("n2", "shop.web.1", WEB, "10.2.0.2", "web")
    world.table.load()
    assert world.table.view(WEB).resolvers == ("10.1.0.53", "fd00::53")
    assert world.table.view(DB).resolvers == ()


def test_the_host_for_a_container_in_the_network_of_another_project(world: World) -> None:
    world.endpoint("n1", "shop.web.1", WEB, "10.1.0.2", "web", extra={"sandbox": "blog"})
    world.endpoint("n2", "shop.web.1", WEB, "10.2.0.2", "web", extra={"sandbox": "inner"}, internal=True)
    world.table.load()
    asked: list[str] = []

    def host(sandboxes: Sequence[str]) -> str:
        asked.extend(sandboxes)
        return HOST

    answer(world.table, world.table.view(WEB), names.query("host.docker.internal"), host)
    assert asked == ["blog"]
