"""Which server is asked for its readiness, and what its first words mean."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from compose.engine.embedded import handshake, readiness, waiting
from compose.engine.embedded.handshake import Question, ask
from compose.engine.embedded.readiness import choose
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that speaks to one client; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as one, contextlib.suppress(OSError):
                talk(one)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(MOMENT)


def answers(expected: bytes, answer: bytes) -> Callable[[socket.socket], None]:
    """Answer when the client has said what it should."""

    def talk(one: socket.socket) -> None:
        said = b""
        while len(said) < len(expected):
            said += one.recv(4096)
        one.sendall(answer if said.startswith(expected) else b"?")
        one.recv(4096)

    return talk


def error(code: bytes) -> bytes:
    fields = b"SFATAL\0C" + code + b"\0Mno\0\0"
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


STARTUP = b"\0\0\0)\0\3\0\0user\0postgres\0"


@pytest.mark.parametrize(
    ("protocol", "expected", "answer", "reason"),
    [
        ("mysql", b"", b"\x4a\0\0\0\x0a8.0.36\0", ""),
        ("mysql", b"", b"\x10\0\0\0\xff\x6a\x04Host is not allowed", ""),
        ("mysql", b"", b"SSH-2.0-x\r\n", "something else"),
        ("postgres", STARTUP, b"R\0\0\0\x08\0\0\0\3", ""),
        ("postgres", STARTUP, error(b"57P03"), "it is starting"),
        ("postgres", STARTUP, error(b"28000"), ""),
        ("redis", b"PING\r\n", b"+PONG\r\n", ""),
        ("redis", b"PING\r\n", b"-NOAUTH Authentication required.\r\n", ""),
        ("redis", b"PING\r\n", b"-LOADING Redis is loading\r\n", "loading its data"),
        ("memcached", b"version\r\n", b"VERSION 1.6.21\r\n", ""),
        ("rabbitmq", b"AMQP\0\0\x09\x01", b"\x01\0\0\0\0\x02\x11", ""),
        ("http", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n", ""),
        ("http", b"GET / HTTP/1.1\r\n", b"HTTP/1.1 503 Busy\r\n\r\n", "it answers 503"),
        ("http", b"GET / HTTP/1.1\r\n", b"gopher\n", "something else"),
    ],
)
def test_first_words(
    protocol: str, expected: bytes, answer: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "_PATIENCE", MOMENT)
    with server(answers(expected, answer)) as port:
        found = ask(Question(protocol, "127.0.0.1", port))
    assert bool(found) == bool(reason), found
    assert reason in found


@pytest.mark.parametrize("protocol", handshake.PROTOCOLS)
def test_a_hostile_server_costs_little(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_PATIENCE", 0.3)

    def silent(one: socket.socket) -> None:
        while one.recv(4096):
            pass

    def endless(one: socket.socket) -> None:
        while True:
            one.sendall(b"x" * 65536)

    def slow(one: socket.socket) -> None:
        while True:
            one.sendall(b"x")
            time.sleep(0.05)

    for talk in (silent, endless, slow):
        with server(talk) as port:
            began = time.monotonic()
            assert ask(Question(protocol, "127.0.0.1", port))
            assert time.monotonic() - began < 60
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert ask(Question(protocol, "127.0.0.1", port)) == "Connection refused"


def test_a_length_that_lies_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_PATIENCE", 0.3)
    with server(answers(STARTUP, b"E\xff\xff\xff\xffCnothing\0")) as port:
        assert ask(Question("postgres", "127.0.0.1", port)) == "it does not answer"


@pytest.mark.parametrize(
    ("image", "exposed", "expected"),
    [
        ("mysql:8", ["3306/tcp", "33060/tcp"], ("mysql", 3306)),
        ("docker.io/bitnami/mariadb", [], ("mysql", 3306)),
        ("mysql/mysql-server:8.0@sha256:1", [], ("mysql", 3306)),
        ("postgis/postgis:16-3.4", [], ("postgres", 5432)),
        ("valkey/valkey", [], ("redis", 6379)),
        ("nginx:alpine", ["80/tcp"], ("http", 80)),
        ("caddy", [], ("http", 80)),
        ("shop-db", ["3306/tcp"], ("mysql", 3306)),
        ("shop-api", ["8080/tcp", "53/udp"], ("http", 8080)),
        ("shop-worker", ["9000/tcp"], None),
        ("debian", [], None),
    ],
)
def test_what_is_chosen(image: str, exposed: list[str], expected: tuple[str, int] | None) -> None:
    endpoints = [{"ipv4": "10.1.2.3/24"}]
    spec: Any = {"image_name": image, "exposed": exposed, "endpoints": endpoints, "network_namespace": "/n"}
    found = choose({}, spec)
    assert (found and (found.protocol, found.port)) == expected
    if found:
        assert (found.address, found.namespace) == ("10.1.2.3", "/n")
    assert choose({"healthcheck": {"disable": True}}, spec) is None
    assert choose({"healthcheck": {"test": ["NONE"]}}, spec) is None


@pytest.mark.parametrize(
    ("image", "args", "env", "expected"),
    [
        ("mysql:8", ["docker-entrypoint.sh", "mysqld", "--port=3307"], [], ("mysql", 3307)),
        ("mariadb", ["mariadbd", "-P", "3308"], ["MYSQL_TCP_PORT=3307"], ("mysql", 3308)),
        ("mariadb", ["mariadbd"], ["X=1", "MYSQL_TCP_PORT=3307"], ("mysql", 3307)),
        ("postgres", ["postgres", "-p5433"], [], ("postgres", 5433)),
        ("postgres", ["postgres", "-c", "port=5434", "-c", "fsync=off"], [], ("postgres", 5434)),
        ("postgres", ["postgres"], ["PGPORT=5435"], ("postgres", 5435)),
        ("redis", ["redis-server", "--port", "6380"], [], ("redis", 6380)),
        ("redis", ["redis-server", "--port", "0"], [], ("redis", 6379)),
        ("memcached", ["memcached", "-p", "11212", "-m", "64"], [], ("memcached", 11212)),
        ("rabbitmq", ["rabbitmq-server"], ["RABBITMQ_NODE_PORT=5673"], ("rabbitmq", 5673)),
        ("shop-cache", ["/usr/bin/redis-server", "--port", "6381"], [], ("redis", 6381)),
        ("shop-cache", ["docker-entrypoint.sh", "memcached"], ["PGPORT=1"], ("memcached", 11211)),
        ("shop-web", ["nginx", "-p", "/srv"], [], ("http", 80)),
        ("shop-app", ["python", "-p", "1"], ["PGPORT=5433"], None),
    ],
)
def test_where_a_server_listens_is_what_it_is_told(
    image: str, args: list[str], env: list[str], expected: tuple[str, int] | None
) -> None:
    spec: Any = {"image_name": image, "oci": {"process": {"args": args, "env": env}}}
    found = choose({}, spec)
    assert (found and (found.protocol, found.port)) == expected


def test_a_port_that_tells_the_protocol_is_the_one_that_is_asked() -> None:
    spec: Any = {
        "image_name": "shop-db",
        "exposed": ["5432"],
        "oci": {"process": {"args": ["pooler", "-p", "80"]}},
    }
    found = choose({}, spec)
    assert found and (found.protocol, found.port) == ("postgres", 5432)
    spec = {"image_name": "shop-nginx", "exposed": ["8081/tcp"]}
    found = choose({}, spec)
    assert found and (found.protocol, found.port) == ("http", 8081)


def test_why_a_server_is_not_ready_is_said_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = iter(["Connection refused", "Connection refused", "it is starting", ""])
    monkeypatch.setattr(readiness, "_SILENCE", 0.0)
    monkeypatch.setattr(readiness, "ask", lambda question: next(reasons))
    monkeypatch.setattr(waiting, "present", lambda *about: {"status": "running"})
    told: list[str] = []
    context: Any = SimpleNamespace(paths=None, detail=lambda name, text, _: told.append(text))
    row: Any = SimpleNamespace(id="1", name="shop-db-1", service="db")
    anyio.run(readiness.ready, context, row, Question("mysql", "10.1.2.3", 3306))
    assert told == [
        "has no health check: asked as mysql on 10.1.2.3 port 3306",
        "is not ready yet: Connection refused",
        "is not ready yet: it is starting",
    ]
