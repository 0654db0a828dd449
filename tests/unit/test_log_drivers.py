"""What log drivers make of a line, and what their options mean."""

from __future__ import annotations

import json
import re
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from compose.engine.embedded.spec.logging import About, logging
from compose.errors import ContainerError
from compose.runtime.output.shipping import fluentd, gelf, journald, syslog

if TYPE_CHECKING:
    from collections.abc import Iterator

ABOUT = About(
    "a" * 64, "shop-web-1", "sha256:" + "b" * 64, "web:1", "run it", {"team": "x"}, ["TZ=UTC", "A=b=c"]
)
SPEC: Any = {
    "id": "a" * 64,
    "name": "shop-web-1",
    "image": ABOUT.image,
    "image_name": "web:1",
    "created": 1_700_000_000_000_000_000,
    "oci": {"process": {"args": ["run", "it"]}},
}
TIME = 1_700_000_000_123_456_789


def wanted(driver: str, **options: str) -> Any:
    """The spec's part; options are written with underscores here."""
    named = {key.replace("_", "-"): value for key, value in options.items()}
    return logging({"logging": {"driver": driver, "options": named}}, ABOUT)


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of the test, wherever it is run."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({}, rb"<30>Nov 14 22:13:20 a{12}\[\d+\]: hello"),
        ({"syslog_format": "rfc3164", "tag": "t"}, rb"<30>Nov 14 22:13:20 \S+ t\[\d+\]: hello"),
        (
            {"syslog_format": "rfc5424", "syslog_facility": "local3", "tag": "t"},
            rb"<158>1 2023-11-14T22:13:20(Z|\+00:00) \S+ t \d+ t - hello",
        ),
        (
            {"syslog_format": "rfc5424micro", "syslog_facility": "0"},
            rb"<6>1 2023-11-14T22:13:20\.123456(Z|\+00:00) \S+ a{12} \d+ a{12} - hello",
        ),
    ],
)
def test_syslog_has_dockers_formats(utc: None, options: dict[str, str], pattern: bytes) -> None:
    (packet,) = syslog.Driver(SPEC, wanted("syslog", **options)).packets(TIME, 0, b"hello")
    assert re.fullmatch(pattern, packet), packet
    (error,) = syslog.Driver(SPEC, wanted("syslog", **options)).packets(TIME, 1, b"hello")
    assert int(error[1 : error.index(b">")]) % 8 == 3


def test_a_long_line_goes_into_several_messages() -> None:
    stream = wanted("syslog", syslog_address="tcp://127.0.0.1:1")
    packets = syslog.Driver(SPEC, stream).packets(TIME, 0, b"x" * 40_000)
    assert [packet.count(b"x") for packet in packets] == [16384, 16384, 7232]
    assert all(packet.endswith(b"\n") for packet in packets)


def entry(packet: bytes) -> dict[bytes, bytes]:
    """An entry of the journal's native protocol, taken apart."""
    found = {}
    while packet:
        line, _, rest = packet.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[8 + size + 1 :]
        found[name] = value
        packet = rest
    return found


def test_journald_gets_fields() -> None:
    logging = wanted("journald", tag="{{.Name}}/{{.ID}}", labels="team,none", env="TZ")
    found = entry(journald.Driver(SPEC, logging).packets(TIME, 1, b"one\ntwo=\xff")[0])
    assert found[b"MESSAGE"] == b"one\ntwo=\xff"
    assert found[b"PRIORITY"] == b"3"
    assert found[b"CONTAINER_NAME"] == b"shop-web-1"
    assert found[b"CONTAINER_TAG"] == found[b"SYSLOG_IDENTIFIER"] == b"shop-web-1/" + b"a" * 12
    assert (found[b"TEAM"], found[b"TZ"]) == (b"x", b"UTC")


@pytest.mark.parametrize("kind", ["gzip", "zlib", "none"])
def test_gelf_is_compressed_json(kind: str) -> None:
    logging = wanted("gelf", gelf_address="udp://127.0.0.1:1", gelf_compression_type=kind, env_regex="^A")
    (packet,) = gelf.Driver(SPEC, logging).packets(TIME, 0, "grüße\udcff".encode("utf-8", "surrogateescape"))
    text = packet if kind == "none" else zlib.decompress(packet, 47)
    found = json.loads(text)
    assert (found["version"], found["level"], found["timestamp"]) == ("1.1", 6, 1_700_000_000.123)
    assert found["short_message"] == "grüße\ufffd"
    assert (found["_container_name"], found["_command"], found["_A"]) == ("shop-web-1", "run it", "b=c")
    assert found["_created"] == "2023-11-14T22:13:20Z"


def test_gelf_is_cut_into_numbered_chunks() -> None:
    logging = wanted("gelf", gelf_address="udp://127.0.0.1:1", gelf_compression_type="none")
    packets = gelf.Driver(SPEC, logging).packets(TIME, 0, b"y" * 10_000)
    assert {packet[:10] for packet in packets} == {packets[0][:10]}
    assert packets[0][:2] == b"\x1e\x0f"
    assert [packet[10] for packet in packets] == list(range(len(packets)))
    assert {packet[11] for packet in packets} == {len(packets)}
    assert max(map(len, packets)) <= 1420
    assert json.loads(b"".join(packet[12:] for packet in packets))["short_message"] == "y" * 10_000


def unpack(data: bytes) -> tuple[Any, bytes]:
    """The first MessagePack value of some bytes, and what follows."""
    kind, data = data[0], data[1:]
    if kind == 0xD7:
        return (data[0], int.from_bytes(data[1:5]), int.from_bytes(data[5:9])), data[9:]
    if kind == 0xCE:
        return int.from_bytes(data[:4]), data[4:]
    for lead, size in ((0xD9, 1), (0xDA, 2), (0xDB, 4)):
        if kind == lead:
            end = size + int.from_bytes(data[:size])
            return data[size:end], data[end:]
    if kind >> 5 == 0b101:
        return data[: kind & 31], data[kind & 31 :]
    if kind >> 4 == 0b1000 or kind == 0xDE:
        count, data = (kind & 15, data) if kind != 0xDE else (int.from_bytes(data[:2]), data[2:])
        pairs = {}
        for _each in range(count):
            key, data = unpack(data)
            pairs[key], data = unpack(data)
        return pairs, data
    assert kind >> 4 == 0b1001, kind
    values = []
    for _each in range(kind & 15):
        value, data = unpack(data)
        values.append(value)
    return values, data


@pytest.mark.parametrize("size", [3, 31, 32, 300, 70_000])
def test_fluentd_gets_messages(size: int) -> None:
    logging = wanted("fluentd", labels="team", tag="app.{{.ImageName}}")
    (packet,) = fluentd.Driver(SPEC, logging).packets(TIME, 1, b"z" * size)
    (tag, when, record), rest = unpack(packet)
    assert (tag, when, rest) == (b"app.web:1", TIME // 10**9, b"")
    assert record == {
        b"container_id": b"a" * 64,
        b"container_name": b"/shop-web-1",
        b"team": b"x",
        b"source": b"stderr",
        b"log": b"z" * size,
    }
    fine = wanted("fluentd", fluentd_sub_second_precision="true")
    ((_tag, when, _record), _rest) = unpack(fluentd.Driver(SPEC, fine).packets(TIME, 0, b"")[0])
    assert when == (0, TIME // 10**9, 123_456_789)


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("syslog", {"syslog_address": "http://x"}, "syslog-address: 'http://x' is not known"),
        ("syslog", {"syslog_address": "tcp://x:99999"}, "syslog-address"),
        ("syslog", {"syslog_address": "unix://relative"}, "syslog-address"),
        ("syslog", {"syslog_facility": "99"}, "syslog-facility: '99'"),
        ("syslog", {"syslog_format": "rfc1"}, "syslog-format: 'rfc1'"),
        ("syslog", {"tag": "{{.Nothing}}"}, "tag: '{{.Nothing}}'"),
        ("syslog", {"syslog_address": "udp://no.such.host.invalid"}, "no.such.host.invalid"),
        ("gelf", {}, "gelf needs gelf-address"),
        ("gelf", {"gelf_address": "udp://h", "gelf_compression_level": "10"}, "gelf-compression-level"),
        ("fluentd", {"fluentd_address": "udp://h"}, "fluentd-address"),
        ("journald", {"labels_regex": "("}, "labels-regex"),
    ],
)
def test_options_that_mean_nothing_are_refused(driver: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ContainerError, match=re.escape(message)):
        wanted(driver, **options)


def test_addresses() -> None:
    assert wanted("syslog")["address"] == "/dev/log"
    assert wanted("fluentd", fluentd_address="127.0.0.1")["address"] == ["127.0.0.1", 24224]
    assert wanted("fluentd", fluentd_address="unix:///run/f.sock")["stream"]
    assert wanted("gelf", gelf_address="tcp://[::1]:5")["address"] == ["::1", 5]
