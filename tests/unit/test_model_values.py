"""Text <-> numbers, as users write them and as docker compose prints them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.model import values
from compose.model.interpolate import InvalidTemplate, MissingVariable, Template
from compose.model.scalars import Date, resolve


@pytest.mark.parametrize(
    ("text", "seconds", "canonical"),
    [
        ("90s", 90, "1m30s"),
        ("1m30s", 90, "1m30s"),
        ("1h", 3600, "1h0m0s"),
        ("1d2h", 93600, "26h0m0s"),
        ("1w", 604800, "168h0m0s"),
        ("1.5s", 1.5, "1.5s"),
        ("1500ms", 1.5, "1.5s"),
        ("100ms", 0.1, "100ms"),
        ("2us", 2e-6, "2µs"),
        ("2µs", 2e-6, "2µs"),
        ("5ns", 5e-9, "5ns"),
        ("1.5ms", 0.0015, "1.5ms"),
        ("0s", 0, "0s"),
        ("0", 0, "0s"),
    ],
)
def test_duration(text: str, seconds: float, canonical: str) -> None:
    assert values.duration(text) == pytest.approx(seconds)
    assert values.duration_text(values.nanoseconds(text)) == canonical


@given(st.integers(min_value=0, max_value=10**18))
def test_duration_text_is_read_as_the_same_duration(nanos: int) -> None:
    assert values.nanoseconds(values.duration_text(nanos)) == pytest.approx(nanos, abs=2)


@pytest.mark.parametrize("text", ["", "10", "5x", "s", "1m30", "--1s", "1 s", "1e3s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        values.duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64m", 64 << 20),
        ("64mb", 64 << 20),
        ("64MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("512k", 512 << 10),
        ("1 kb", 1024),
        ("10b", 10),
        ("-1", -1),
        ("1024", 1024),
        (1024, 1024),
        ("1t", 1 << 40),
    ],
)
def test_byte_size(text: str | int, size: int) -> None:
    assert values.byte_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "1x", "1e9g", "nan", "-5m", "1  k"])
def test_what_is_no_byte_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        values.byte_size(text)


def test_a_size_beyond_all_machines() -> None:
    with pytest.raises(ValueError, match="more than any machine"):
        values.byte_size("9999999999g")


def test_port_range() -> None:
    assert values.port_range("80") == (80, 80)
    assert values.port_range("8000-8010") == (8000, 8010)
    for text in ("", "-", "80-", "65536", "x", "80-79", "²"):
        with pytest.raises(ValueError, match=r"is not a port|ends before"):
            values.port_range(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1.0, "1"),
        (1.5, "1.5"),
        (999999.5, "999999.5"),
        (1e6, "1e+06"),
        (123456789.5, "1.234567895e+08"),
        (1e20, "1e+20"),
        (1e21, "1e+21"),
        (1e-5, "1e-05"),
        (0.0001, "0.0001"),
        (1.2345678901234568e29, "1.2345678901234568e+29"),
        (float("inf"), "+Inf"),
        (None, ""),
        (-0.0, "-0"),
    ],
)
def test_text_of_a_scalar_is_that_of_go(value: object, text: str) -> None:
    assert values.go_text(value) == text


@pytest.mark.parametrize(
    ("text", "words", "rest"),
    [
        ("a b  c", ["a", "b", "c"], ""),
        ("'a b' \"c d\" e\\ f", ["a b", "c d", "e f"], ""),
        ("a '' \"\"", ["a", "", ""], ""),
        ("echo a; echo b", ["echo", "a"], "; echo b"),
        ("a 2>&1", ["a"], ">&1"),
        ('a="b c"d', ["a=b cd"], ""),
        ("'a;b' c\\;d", ["a;b", "c;d"], ""),
        ("", [], ""),
    ],
)
def test_split_command(text: str, words: list[str], rest: str) -> None:
    assert values.split_command(text) == words
    assert values.dropped_command(text) == rest


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),
        ("190:20:30", "190:20:30"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("True", True),
        ("~", None),
        ("", None),
        ("0440", 288),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("08", 8.0),
        ("1_000", 1000),
        ("+5", 5),
        ("-0", 0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("=", "="),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        (".", "."),
        ("0x", "0x"),
        (".5_1", 0.51),
        (".5_", ".5_"),
        ("._5", "._5"),
        ("1e400", "1e400"),
        ("9" * 30, 1e30),
        ("0xFFFFFFFFFFFFFFFFF", "0xFFFFFFFFFFFFFFFFF"),
    ],
)
def test_plain_scalar(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_a_date_is_told_from_a_string() -> None:
    assert isinstance(resolve("2024-01-01"), Date)
    assert isinstance(resolve("2024-01-01T10:00:00Z"), Date)
    assert isinstance(resolve("2024-2-29 1:2:3"), Date)
    for text in ("2024-01", "2023-2-29", "2024-13-1", "2024-1-1 1:2:3Z", "2024-1-1T1:2:3", "2024-1-1 24:0:0"):
        assert not isinstance(resolve(text), Date), text


SET = {"V": "v", "E": ""}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$V ${V} $$V $1 a$ $é", "v v $V $1 a$ $é"),
        ("${E:-d} ${E-d} ${U-d}", "d  d"),
        ("${V:+a}${E:+a}${E+a}${U+a}", "aa"),
        ("${U:-${V}} ${U:-$V} ${U:-${X:-c}}", "v v c"),
        ('${U:-{"x":1}}', '{"x":1}'),
        ("${V:?m} ${V?m} ${E?m}", "v v "),
        ("${U:-a}b}", "ab}"),
        ("$V$V_", "v"),
        ("$$$$", "$$"),
    ],
)
def test_interpolation(text: str, result: str) -> None:
    assert Template(SET.get).substitute(text) == result


@pytest.mark.parametrize(
    "text", ["${A", "${1x}", "${}", "${ V }", "${V!}", "${U:=x}", "${U:-a\nb}", "${U:-${A}"]
)
def test_invalid_interpolation(text: str) -> None:
    with pytest.raises(InvalidTemplate):
        Template(SET.get).substitute(text)


def test_missing_variable_says_why() -> None:
    with pytest.raises(MissingVariable, match="the variable U is needed: set v"):
        Template(SET.get).substitute("${U:?set $V}")


def test_operands_are_looked_at_only_when_used() -> None:
    assert Template(SET.get).substitute("${V:-${U:?no}}") == "v"


@given(st.text())
def test_any_text_is_a_template_or_invalid(text: str) -> None:
    try:
        Template(lambda name: None).substitute(text)
    except (InvalidTemplate, MissingVariable):
        pass


@given(st.text())
def test_any_text_is_a_scalar(text: str) -> None:
    resolve(text)
