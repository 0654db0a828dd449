"""DNS messages: what is read from hostile bytes, and what is written."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.network.netd import names


def read(message: bytes) -> names.Question:
    question = names.parse(message)
    assert isinstance(question, names.Question)
    return question


def test_a_question_is_read() -> None:
    question = read(names.query("Web.Example", names.AAAA, identity=0x1234))
    assert (question.identity, question.name, question.labels) == (0x1234, "web.example", 2)
    assert (question.kind, question.cls, question.size) == (names.AAAA, names.IN, 512)


@pytest.mark.parametrize(("advertised", "taken"), [(100, 512), (512, 512), (900, 900), (65535, 1232)])
def test_the_size_that_a_client_takes_is_bounded(advertised: int, taken: int) -> None:
    assert read(names.query("web", size=advertised)).size == taken


def header(*, flags: int = 0x0100, questions: int = 1, answers: int = 0, extra: int = 0) -> bytes:
    return struct.pack(">6H", 7, flags, questions, answers, 0, extra)


NAME = b"\3web\0\0\1\0\1"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"", None),
        (b"\0" * 11, None),
        (header(flags=0x8180) + NAME, None),  # an answer
        (header(flags=0x2900) + NAME, names.NOT_IMPLEMENTED),  # an update
        (header(questions=0), names.FORMAT_ERROR),
        (header(questions=2) + NAME * 2, names.FORMAT_ERROR),
        (header(questions=65535) + NAME, names.FORMAT_ERROR),
        (header(answers=1) + NAME, names.FORMAT_ERROR),
        (header() + b"\3web", names.FORMAT_ERROR),
        (header() + b"\3web\0\0\1", names.FORMAT_ERROR),
        (header() + b"\xc0\x0c\0\1\0\1", names.FORMAT_ERROR),  # a name that points to itself
        (header() + b"\3web\xc0\x0c\0\1\0\1", names.FORMAT_ERROR),
        (header() + b"\x40" + b"a" * 64 + b"\0\0\1\0\1", names.FORMAT_ERROR),
        (header() + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", names.FORMAT_ERROR),  # 257 bytes
        (header() + NAME + bytes(64_000), names.FORMAT_ERROR),
        (header(extra=1) + NAME, names.FORMAT_ERROR),
        (header(extra=65535) + NAME + (b"\0" + b"\0\1\0\1" + bytes(6)) * 50, names.FORMAT_ERROR),
        (header(extra=1) + NAME + b"\0\0\x29\2\0\0\0\0\0\xff\xff", names.FORMAT_ERROR),
        (header(extra=2) + NAME + b"\0\0\x29\2\0\0\0\0\0\0\0" * 2, names.FORMAT_ERROR),
    ],
)
def test_a_malformed_message_gets_an_error_or_silence(message: bytes, code: int | None) -> None:
    assert names.parse(message) == code


@given(st.binary(max_size=600))
def test_no_bytes_raise(message: bytes) -> None:
    found = names.parse(message)
    if isinstance(found, int):
        assert len(names.failure(message, found)) == 12


@given(st.binary(max_size=80), st.integers(0, 3), st.integers(0, 5))
def test_no_bytes_behind_a_good_header_raise(body: bytes, extra: int, authority: int) -> None:
    message = struct.pack(">6H", 1, 0x0100, 1, 0, authority, extra) + body
    found = names.parse(message)
    if isinstance(found, names.Question):
        assert 12 < found.end <= len(message)
        answer = names.reply(message, found, names.NO_ERROR, [names.address("10.0.0.1")])
        assert answer[:2] == message[:2] and answer[2] & 0x80


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_no_answer_of_a_resolver_raises(sent: bytes, got: bytes) -> None:
    names.answers(sent, len(sent), got)


label = st.from_regex(r"[a-z0-9_-]{1,63}", fullmatch=True)


@given(st.lists(label, min_size=1, max_size=3))
def test_a_name_survives(labels: list[str]) -> None:
    question = read(names.query(".".join(labels)))
    assert question.name == ".".join(labels)
    assert question.labels == len(labels)


def test_a_dot_within_a_label_is_no_separator() -> None:
    question = read(header() + b"\7web.lan\0\0\1\0\1")
    assert question.name != "web.lan"
    assert question.labels == 1


def test_an_answer_holds_the_addresses() -> None:
    query = names.query("Web")
    records = [names.address("10.1.2.3"), names.address("10.1.2.4")]
    answer = names.reply(query, read(query), names.NO_ERROR, records)
    assert struct.unpack(">6H", answer[:12]) == (0, 0x8580, 1, 2, 0, 0)
    assert answer[12 : len(query)] == query[12:]  # the question as it was asked, in its own letters
    assert answer[len(query) :] == b"".join(
        b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton(text) for text in ("10.1.2.3", "10.1.2.4")
    )


@pytest.mark.parametrize(("size", "limit"), [(0, 512), (1232, 1232)])
def test_an_answer_that_is_too_long_is_cut_and_says_so(size: int, limit: int) -> None:
    query = names.query("web", size=size)
    question = read(query)
    records = [names.address(f"10.1.{number >> 8}.{number & 255}") for number in range(300)]
    answer = names.reply(query, question, names.NO_ERROR, records, limit=question.size)
    assert limit - 16 < len(answer) <= limit
    assert answer[2] & 2
    whole = names.reply(query, question, names.NO_ERROR, records)
    assert not whole[2] & 2 and len(whole) > 300 * 16


def test_an_answer_to_edns_has_edns() -> None:
    query = names.query("web", size=4096)
    answer = names.reply(query, read(query), names.BAD_VERSION)
    assert answer[-11:] == b"\0\0\x29\x04\xd0\1\0\0\0\0\0"  # 16 = 1 << 4
    assert answer[10:12] == b"\0\1"


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("4.3.2.10.in-addr.arpa", "10.2.3.4"),
        ("3.2.10.in-addr.arpa", None),
        ("x.3.2.10.in-addr.arpa", None),
        ("\xb2.3.2.10.in-addr.arpa", None),
        ("4.3.2.10.example", None),
    ],
)
def test_reverse_names(name: str, address: str | None) -> None:
    assert names.reverse_address(name) == address


@pytest.mark.parametrize("name", ["", "a" * 64, "a..b", ".".join(["a" * 60] * 5)])
def test_what_is_no_domain_name_makes_no_record(name: str) -> None:
    assert names.wire_name(name) == b""
    assert names.pointer(name) == b""


class TestAnswersOfResolvers:
    query = names.query("deb.example.org", identity=77)
    good = b"\0\x4d\x81\x80\0\1\0\0\0\0\0\0" + query[12:]

    def accepted(self, answer: bytes) -> bool:
        return names.answers(self.query, len(self.query), answer)

    def test_the_right_one(self) -> None:
        assert self.accepted(self.good)
        assert self.accepted(self.good.replace(b"deb", b"DEB"))

    def test_another_number_or_question_or_no_answer(self) -> None:
        assert not self.accepted(b"\0\x4e" + self.good[2:])
        assert not self.accepted(self.good.replace(b"deb", b"dab"))
        assert not self.accepted(self.query)
        assert not self.accepted(b"\0\x4d\x81\x80" + bytes(8))  # good without a question

    def test_a_refusal_may_leave_the_question_out(self) -> None:
        assert self.accepted(b"\0\x4d\x81\x85" + bytes(8))

    def test_cut_to_what_the_client_takes(self) -> None:
        long = self.good + bytes(600)
        cut = names.for_client(5, long, len(self.query), 512)
        assert len(cut) == len(self.query)
        assert cut[:2] == b"\0\5" and cut[2] & 2
        assert names.for_client(5, long, len(self.query), 1232) == b"\0\5" + long[2:]
