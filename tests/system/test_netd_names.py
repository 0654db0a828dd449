"""Names, asked from a container at 127.0.0.11:53, with resolvers outside of every mood."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from compose.network.netd import names
from compose.network.netd.resolvers import PATIENCE
from tests.support.network_lab import CONTAINER, NETWORK, PROJECT, TARGET, Lab, Server, private_memory, until
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Callable


RESOLVER = "127.0.0.1"
AWAY = "203.0.113.7"


@pytest.fixture
def lab(lab: Lab) -> Lab:
    lab.endpoint(NETWORK, "lab.web.1", names=["web", "lab-web-1"])
    lab.endpoint(NETWORK, "lab.db.1", container="d" * 64, ipv4="10.213.7.3", names=["db", "lab-db-1"])
    return lab


class Resolver:
    """A resolver on the host: `answer` makes from a query what is sent, None for silence."""

    def __init__(
        self,
        lab: Lab,
        answer: Callable[[bytes, bool], list[bytes]],
        address: str = RESOLVER,
        where: str = "host",
    ) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self._answer = answer
        self._udp = lab.listen(where, address, 5300, socket.SOCK_DGRAM)
        self._tcp = Server(lab.listen(where, address, 5300), self._serve)
        self._udp.settimeout(None)
        self._closing = False
        self._thread = threading.Thread(target=self._datagrams, daemon=True)
        self._thread.start()
        lab.resolver_port = 5300

    def _datagrams(self) -> None:
        while True:
            query, client = self._udp.recvfrom(65535)
            if self._closing:
                return
            self.asked.append(("udp", query))
            for data in self._answer(query, False):
                self._udp.sendto(data, client)

    def _serve(self, client: socket.socket) -> None:
        head = client.recv(2, socket.MSG_WAITALL)
        query = client.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
        self.asked.append(("tcp", query))
        for data in self._answer(query, True):
            client.sendall(len(data).to_bytes(2, "big") + data)

    def close(self) -> None:
        self._closing = True
        self._udp.sendto(b"", self._udp.getsockname())
        self._thread.join(MOMENT)
        self._tcp.close()


def reply(query: bytes, *addresses: str, code: int = 0) -> bytes:
    """An answer of a resolver."""
    question = names.parse(query)
    assert isinstance(question, names.Question)
    return names.reply(query, question, code, [names.address(text) for text in addresses])


def ask(lab: Lab, name: str, kind: int = names.A, *, identity: int = 99) -> bytes:
    """One question over UDP, from the container."""
    with lab.make("container", kind=socket.SOCK_DGRAM) as client:
        client.sendto(names.query(name, kind, identity=identity), ("127.0.0.11", 53))
        answer = client.recv(65535)
        assert answer[:2] == identity.to_bytes(2, "big")
        return answer


def ask_tcp(lab: Lab, *queries: bytes) -> list[bytes]:
    """Questions over one TCP connection."""
    with lab.make("container") as client:
        client.connect(("127.0.0.11", 53))
        client.sendall(b"".join(len(query).to_bytes(2, "big") + query for query in queries))
        client.shutdown(socket.SHUT_WR)
        answers = []
        while head := client.recv(2, socket.MSG_WAITALL):
            answers.append(client.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        return answers


def addresses(answer: bytes) -> list[str]:
    """The addresses at the end of an answer without EDNS, or the response code as an error."""
    assert answer[3] & 15 == 0, answer[3] & 15
    count = answer[6] << 8 | answer[7]
    start = len(answer) - 16 * count
    return [socket.inet_ntoa(answer[start + 16 * n + 12 : start + 16 * n + 16]) for n in range(count)]


def code(answer: bytes) -> int:
    return answer[3] & 15


def test_own_names_need_no_resolver(lab: Lab) -> None:
    lab.name_service()
    lab.start()
    for name, found in (("web", TARGET), ("lab-web-1", TARGET), ("DB", "10.213.7.3")):
        assert addresses(ask(lab, name)) == [found]
        assert addresses(ask(lab, name, names.AAAA)) == []
        assert [addresses(answer) for answer in ask_tcp(lab, names.query(name))] == [[found]]
    assert code(ask(lab, "nothing")) == names.NO_SUCH_NAME
    assert names.wire_name("lab-db-1") in ask(lab, "3.7.213.10.in-addr.arpa", names.PTR)
    assert lab.errors() == ""


def test_the_c_library_of_a_container_is_content(lab: Lab) -> None:
    """getaddrinfo asks A and AAAA at once from one socket, and waits for both."""
    lab.name_service()
    lab.start()
    script = """
import ctypes, os, socket, sys
open("/tmp/resolv.conf", "w").write("nameserver 127.0.0.11\\noptions ndots:0\\n")
libc = ctypes.CDLL(None)
assert libc.mount(b"/tmp/resolv.conf", b"/etc/resolv.conf", None, 4096, None) == 0
print({entry[4][0] for entry in socket.getaddrinfo("db", 80)})
"""
    python = os.path.realpath(shutil.which("python3") or "python3")
    command = 'mount -t tmpfs t /tmp && exec "$0" -c "$1"'
    out = lab.run("container", "unshare", "--mount", "sh", "-c", command, python, script)
    assert out == "{'10.213.7.3'}\n"


def test_other_names_are_forwarded_with_numbers_of_our_own(lab: Lab) -> None:
    with contextlib.closing(Resolver(lab, lambda query, tcp: [reply(query, AWAY)])) as resolver:
        lab.name_service()
        lab.start()
        for _ in range(20):
            assert addresses(ask(lab, "deb.example.org", identity=1)) == [AWAY]
        assert code(ask(lab, "fileserver")) == names.NO_SUCH_NAME
        assert len(resolver.asked) == 20  # no single label among them
        assert len({query[:2] for _, query in resolver.asked}) > 15
        assert addresses(ask_tcp(lab, names.query("deb.example.org"))[0]) == [AWAY]
        assert resolver.asked[-1][0] == "tcp"
    assert lab.errors() == ""


def test_a_truncated_answer_leads_to_tcp(lab: Lab) -> None:
    def answer(query: bytes, tcp: bool) -> list[bytes]:
        whole = reply(query, *["203.0.113.7"] * 200)
        return [whole if tcp else whole[:2] + bytes((whole[2] | 2,)) + whole[3:500]]

    with contextlib.closing(Resolver(lab, answer)):
        lab.name_service()
        lab.start()
        assert ask(lab, "big.example.org")[2] & 2
        assert len(addresses(ask_tcp(lab, names.query("big.example.org"))[0])) == 200


def test_forged_answers_are_not_taken(lab: Lab) -> None:
    def answer(query: bytes, tcp: bool) -> list[bytes]:
        good = reply(query, AWAY)
        other = bytes((good[0] ^ 1,)) + good[1:]
        no_question = good[:2] + b"\x81\x80" + bytes(8)
        return [b"", b"x", query, other, good.replace(b"deb", b"dab"), no_question, good]

    with contextlib.closing(Resolver(lab, answer)):
        lab.name_service()
        lab.start()
        assert addresses(ask(lab, "deb.example.org")) == [AWAY]


def test_a_dead_resolver_costs_a_second_once(lab: Lab) -> None:
    with open(lab.resolv_conf, "w") as file:
        file.write("nameserver 127.0.0.2\nnameserver 127.0.0.1\n")
    silent = Resolver(lab, lambda query, tcp: [], "127.0.0.2")
    good = Resolver(lab, lambda query, tcp: [reply(query, AWAY)])
    with contextlib.closing(silent), contextlib.closing(good):
        lab.name_service()
        lab.start()
        assert addresses(ask(lab, "a.example.org")) == [AWAY]
        assert len(silent.asked) == 1
        for number in range(20):
            assert addresses(ask(lab, f"b{number}.example.org")) == [AWAY]
        assert len(silent.asked) == 1
        assert addresses(ask_tcp(lab, names.query("a.example.org"))[0]) == [AWAY]


def test_a_resolver_that_refuses_or_is_not_there_is_passed_over_at_once(lab: Lab) -> None:
    with open(lab.resolv_conf, "w") as file:
        file.write("nameserver 127.0.0.3\nnameserver 127.0.0.2\nnameserver 127.0.0.1\n")
    refusing = Resolver(lab, lambda query, tcp: [reply(query, code=names.REFUSED)], "127.0.0.2")
    good = Resolver(lab, lambda query, tcp: [reply(query, AWAY)])
    with contextlib.closing(refusing), contextlib.closing(good):
        lab.name_service()
        lab.start()
        assert addresses(ask(lab, "a.example.org")) == [AWAY]
        assert (len(refusing.asked), len(good.asked)) == (1, 1)  # a try that is waited for is made again


def test_no_resolver_at_all(lab: Lab) -> None:
    lab.resolver_port = 5300
    lab.name_service()
    lab.start()
    began = time.monotonic()
    assert code(ask(lab, "a.example.org")) == names.SERVER_FAILURE
    assert time.monotonic() - began < PATIENCE  # what it would take if it waited for somebody


def test_a_container_may_have_resolvers_of_its_own(lab: Lab) -> None:
    """They are asked from its namespace: neighbours and the container itself are among those it may name."""
    neighbour = "10.213.7.1"
    with (
        contextlib.closing(Resolver(lab, lambda query, tcp: [reply(query, "203.0.113.1")])) as of_host,
        contextlib.closing(
            Resolver(lab, lambda query, tcp: [reply(query, AWAY)], neighbour, "sandbox")
        ) as own,
        contextlib.closing(
            Resolver(lab, lambda query, tcp: [reply(query, "203.0.113.9")], "127.0.0.1", "container")
        ) as itself,
    ):
        lab.name_service()
        lab.start()
        name = "www.example.org"
        assert addresses(ask(lab, name)) == ["203.0.113.1"]
        for dns, found in (
            ([neighbour], AWAY),
            (["127.0.0.1", neighbour], "203.0.113.9"),
            (["127.0.0.11", "10.213.7.99", neighbour], AWAY),  # ourselves, nobody
            (["nonsense"], "203.0.113.1"),
            ([], "203.0.113.1"),
        ):
            lab.endpoint(NETWORK, "lab.web.1", extra={"dns": dns, "network": found})
            until(lambda: code(ask(lab, f"web.{found}")) == 0)  # noqa: B023
            assert addresses(ask(lab, name)) == [found]
            assert [addresses(one) for one in ask_tcp(lab, names.query(name))] == [[found]]
            assert addresses(ask(lab, "web")) == [TARGET]
        assert {kind for kind, _ in own.asked} == {"udp", "tcp"} == {kind for kind, _ in itself.asked}
        assert len(of_host.asked) == 5
        lab.endpoint(NETWORK, "lab.web.1", extra={"dns": [neighbour], "network": "inner"}, internal=True)
        until(lambda: code(ask(lab, "web.inner")) == 0)
        assert code(ask(lab, name)) == names.NO_SUCH_NAME
    assert lab.errors() == ""


def test_no_such_name_outside_is_passed_on(lab: Lab) -> None:
    with contextlib.closing(Resolver(lab, lambda query, tcp: [reply(query, code=names.NO_SUCH_NAME)])):
        lab.name_service()
        lab.start()
        assert code(ask(lab, "a.example.org")) == names.NO_SUCH_NAME


def test_with_the_resolver_in_a_black_hole_own_names_are_answered_at_once(lab: Lab) -> None:
    """And what waits for it is bounded, told in the end, and asked once however often it is repeated."""
    with contextlib.closing(Resolver(lab, lambda query, tcp: [])) as resolver:
        lab.name_service()
        lab.start()
        with lab.make("container", kind=socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.11", 53))
            for number in range(400):
                if number % 50 == 0:
                    ask(lab, "db")  # it has read what was sent before: the socket's buffer holds some 270
                client.send(names.query(f"n{number}.example.org", identity=number))
            failed = {int.from_bytes(client.recv(999)[:2], "big") for _ in range(144)}
            assert failed == set(range(256, 400))
            for _ in range(3):
                client.send(names.query("n0.example.org", identity=0))
            slowest = 0.0
            for _ in range(200):
                began = time.monotonic()
                assert addresses(ask(lab, "db")) == ["10.213.7.3"]
                slowest = max(slowest, time.monotonic() - began)
            assert slowest < PATIENCE  # what it would be behind the questions that nobody answers
            answers = [client.recv(999) for _ in range(256)]
            assert {code(answer) for answer in answers} == {names.SERVER_FAILURE}
        tries = [query for _, query in resolver.asked if b"\2n0" in query]
        assert 2 <= len(tries) <= 3


def test_a_container_without_a_way_out_asks_nobody_outside(lab: Lab) -> None:
    lab.endpoint(NETWORK, "lab.web.1", names=["web"], internal=True)
    with contextlib.closing(Resolver(lab, lambda query, tcp: [reply(query, AWAY)])) as resolver:
        lab.name_service()
        lab.start()
        assert code(ask(lab, "example.org")) == names.NO_SUCH_NAME
        assert addresses(ask(lab, "db")) == ["10.213.7.3"]
        assert not resolver.asked


def test_containers_ask_for_their_own_networks(lab: Lab) -> None:
    lab.endpoint("other", "lab.api.1", container="e" * 64, ipv4="10.213.8.2", names=["api"])
    address, port = lab.name_service("e" * 64)
    lab.name_service()
    lab.start()
    with lab.make("container", kind=socket.SOCK_DGRAM) as client:
        client.sendto(names.query("api"), (address, port))
        assert addresses(client.recv(999)) == ["10.213.8.2"]
        client.sendto(names.query("db"), (address, port))
        assert code(client.recv(999)) == names.NO_SUCH_NAME
    assert code(ask(lab, "api")) == names.NO_SUCH_NAME


def test_host_docker_internal(lab: Lab) -> None:
    lab.name_service()
    lab.start()
    assert code(ask(lab, "host.docker.internal")) == names.NO_SUCH_NAME
    with open(f"{lab.paths.project_run(PROJECT)}/uplink.json", "w") as file:
        file.write('{"host": "172.31.255.1", "inside": "172.31.255.2"}')
    assert addresses(ask(lab, "host.docker.internal")) == ["172.31.255.1"]


def test_names_come_and_go_while_others_are_asked_for(lab: Lab) -> None:
    lab.name_service()
    lab.start()
    stop = threading.Event()

    def scale() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            slot = f"lab.job.{number % 20}"
            address = f"10.213.7.{100 + number % 20}"
            lab.endpoint(NETWORK, slot, container="e" * 64, ipv4=address, names=["job"])
            lab.endpoint(f"net{number % 7}", slot, container="e" * 64, ipv4="10.99.0.1", names=["job"])
            if number % 5 == 0:
                os.unlink(f"{lab.paths.network_run(NETWORK)}/{slot}.json")
                shutil.rmtree(lab.paths.network_run(f"net{number % 7}"))

    changer = threading.Thread(target=scale)
    changer.start()
    try:
        with lab.make("container", kind=socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.11", 53))
            for number in range(1000):
                client.send(names.query("db", identity=number))
                assert addresses(client.recv(999)) == ["10.213.7.3"]
    finally:
        stop.set()
        changer.join()
    lab.endpoint(NETWORK, "lab.last.1", ipv4="10.213.7.99", names=["last"])
    until(lambda: code(ask(lab, "last")) == 0)
    shutil.rmtree(lab.paths.network_run(NETWORK))
    until(lambda: code(ask(lab, "db")) == names.NO_SUCH_NAME)
    lab.endpoint(NETWORK, "lab.web.1", names=["web"])
    assert until(lambda: addresses(ask(lab, "web")) if code(ask(lab, "web")) == 0 else [])
    assert lab.errors() == ""


def test_the_run_time_directory_is_removed_and_made_again(lab: Lab) -> None:
    lab.name_service()
    lab.start()
    assert code(ask(lab, "web")) == 0
    shutil.rmtree(f"{lab.paths.run}/networks")
    until(lambda: code(ask(lab, "web")) == names.NO_SUCH_NAME)
    lab.endpoint(NETWORK, "lab.web.1", names=["web"])
    until(lambda: code(ask(lab, "web")) == 0)


def test_ten_thousand_questions(lab: Lab) -> None:
    lab.name_service()
    lab.start()
    assert lab.netd
    ask(lab, "db")
    before = private_memory(lab.netd.pid)
    with lab.make("container", kind=socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.11", 53))
        for start in range(0, 10_000, 50):
            for number in range(start, start + 50):
                client.send(names.query("db", identity=number))
            got = {int.from_bytes(client.recv(999)[:2], "big") for _ in range(50)}
            assert got == set(range(start, start + 50))
    assert private_memory(lab.netd.pid) - before < 1 << 20
    assert before < 12 << 20


def test_hostile_clients_hurt_nobody(lab: Lab) -> None:
    lab.name_service()
    lab.start()
    with lab.make("container", kind=socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.11", 53))
        for data in (b"", b"\0", bytes(12), bytes(65507), b"\xc0\x0c" * 300, os.urandom(500)):
            client.send(data)
    half_open = []
    for _ in range(70):  # more than one container may have
        client = lab.make("container")
        client.connect(("127.0.0.11", 53))
        half_open.append(client)
    half_open[0].sendall(b"\xff")
    half_open[1].sendall(b"\xff\xff" + bytes(65535))
    assert half_open[1].recv(14, socket.MSG_WAITALL)[5] & 15 == names.FORMAT_ERROR
    assert half_open[-1].recv(1) == b""
    assert addresses(ask(lab, "db")) == ["10.213.7.3"]
    for client in half_open:
        client.close()
    until(lambda: _tcp_works(lab))
    many = [names.query("db", identity=number) for number in range(3000)]
    assert [answer[:2] for answer in ask_tcp(lab, *many)] == [query[:2] for query in many]
    assert lab.errors() == ""


def _tcp_works(lab: Lab) -> bool:
    with contextlib.suppress(OSError):
        return len(ask_tcp(lab, names.query("db"))) == 1
    return False


def test_a_successor_serves_the_same_sockets(lab: Lab) -> None:
    lab.name_service()
    lab.start()
    assert addresses(ask(lab, "db")) == ["10.213.7.3"]
    lab.kill()
    with lab.make("container", kind=socket.SOCK_DGRAM) as client:
        client.sendto(names.query("db"), ("127.0.0.11", 53))  # waits in the socket for the successor
        lab.start()
        assert addresses(client.recv(999)) == ["10.213.7.3"]
    lab.drop(f"dns/{CONTAINER}")
