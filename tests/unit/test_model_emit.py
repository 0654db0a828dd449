"""YAML text: written as docker compose writes it, and read by everybody as what it was."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from compose.model.emit import emit
from compose.model.key_order import natural, ordered
from compose.model.parse import documents
from compose.model.supported import rows


def read(text: str) -> Any:
    """A text as our own loader reads it."""
    found = documents(text.encode(), "x.yaml")
    return found[0][0] if found else None


def spell(value: Any) -> str:
    """A value as it stands behind a key."""
    return emit({"k": value}).removeprefix("k:").removeprefix(" ").removesuffix("\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (-1, "-1"),
        (1.5, "1.5"),
        (2.0, "2"),
        (1e6, "1e+06"),
        (123456789.5, "1.234567895e+08"),
        (1e-5, "1e-05"),
        (math.inf, ".inf"),
        (-math.inf, "-.inf"),
        (math.nan, ".nan"),
        ([], "[]"),
        ({}, "{}"),
        ("", '""'),
        ("a b", "a b"),
        ("~", '"~"'),
        ("no", '"no"'),
        ("No", '"No"'),
        ("nO", "nO"),
        ("true", '"true"'),
        ("1", '"1"'),
        ("1_000", '"1_000"'),
        ("0x", "0x"),
        ("0x1F", '"0x1F"'),
        ("08", '"08"'),
        ("0o8", "0o8"),
        ("1e3", '"1e3"'),
        ("1e400", "1e400"),
        ("12:30:45", '"12:30:45"'),
        ("12:60", "12:60"),
        ("2020-1-1", '"2020-1-1"'),
        ("2020-01-01 01:01:01", '"2020-01-01 01:01:01"'),
        ("2020-1", "2020-1"),
        ("a$b", "a$b"),
        ("-", "'-'"),
        ("-a", "-a"),
        ("- a", "'- a'"),
        ("?a", "?a"),
        ("---a", "'---a'"),
        ("a: b", "'a: b'"),
        ("a:b", "a:b"),
        ("a:", "'a:'"),
        ("a #b", "'a #b'"),
        ("a#b", "a#b"),
        ("'a'", "'''a'''"),
        ('"a"', "'\"a\"'"),
        ("[a]", "'[a]'"),
        ("a [b], {c}", "a [b], {c}"),
        (" a", "' a'"),
        ("a ", "'a '"),
        ("a\tb", '"a\\tb"'),
        ("a\\b", "a\\b"),
        ("é€", "é€"),
        ("\xa0", "\xa0"),
        ("😀", '"\\U0001F600"'),
        ("\x01\x7f\x85\r", '"\\x01\\x7F\\N\\r"'),
        ("a\nb", "|-\n  a\n  b"),
        ("a\n", "|\n  a"),
        ("a\n\n", "|+\n  a\n"),
        ("\n", "|2+\n"),
        ("\nfoo", "|2-\n\n  foo"),
        (" a\nb", "|2-\n   a\n  b"),
        ("a\n\tb", "|-\n  a\n  \tb"),
        ("a \nb", '"a \\nb"'),
        ("a\nb ", '"a\\nb "'),
        ("a\r\nb", '"a\\r\\nb"'),
        ("a\udcff", "!!binary Yf8="),
        # docker compose leaves these bare
        ("=", '"="'),
        ("<<", '"<<"'),
        ("2020-13-01", '"2020-13-01"'),
        (".5_", '".5_"'),
        ("a\u2028b", '"a\\Lb"'),
        ("\ta\nb", '"\\ta\\nb"'),
    ],
)
def test_spelling_is_that_of_docker_compose(value: Any, text: str) -> None:
    assert spell(value) == text


def test_long_lines_stay_whole() -> None:
    line = "word " * 200 + "end"
    assert spell(line) == line
    assert spell(line + ": x") == f"'{line}: x'"


def test_containers_are_blocks() -> None:
    assert emit({"a": {"b": [1, [2, [{}]], {"c": {"d": []}, "e": "x\ny"}]}, "f": [[{"g": None}]]}) == (
        "a:\n  b:\n    - 1\n    - - 2\n      - - {}\n    - c:\n        d: []\n      e: |-\n"
        "        x\n        y\n"
        "f:\n  - - g: null\n"
    )
    assert emit({}) == "{}\n"
    assert emit({"a": {"b": "x\ny"}}, 4) == "a:\n    b: |-\n        x\n        y\n"


def test_keys_are_quoted_like_values_and_long_ones_stand_alone() -> None:
    assert emit({"true": 1, "y": 2, "1": 3, "a b": 4}) == '"true": 1\n"y": 2\n"1": 3\na b: 4\n'
    long = "k" * 129
    assert emit({"k" * 128: 1}) == f"{'k' * 128}: 1\n"
    assert emit({long: {"a": 1, "b": 2}}) == f"? {long}\n: a: 1\n  b: 2\n"
    assert emit({"a\nb": [1, 2]}) == "? |-\n  a\n  b\n: - 1\n  - 2\n"


NASTY = st.text(
    st.sampled_from("ab 1:-#?|>\"'\\\n\t\r\0\x85\u2028\ufeff_.,[]{}&*!%@`=<~é😀x0eE+TZyn\udc80"), max_size=9
)
TEXTS = st.one_of(
    NASTY, st.text(max_size=12), st.from_regex(r"[-+]?[0-9._:eExXobTZ -]{1,12}", fullmatch=True)
)
SCALARS = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats())
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def alike(one: Any, other: Any) -> bool:
    """Whether two trees are the same; whole floats are written as integers."""
    return repr(whole(one)) == repr(whole(other))


def whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@settings(max_examples=200, deadline=None)
@given(TREES)
@example("2001-12-14 21:59:43.10 -5")
@example("0b_")
@example(["0_", "+.5", ".5_1", "1._0", "1:1.", "-0x_", "0o17", "0O7", "00", "1e400", "9" * 400])
@example({"=": "<<", "<<": "="})
@example(["\t\n", " \t\n", "\n\t", "a\n\t"])
@example({"\n": {"x": "\n\n"}, " \n": ["\n", " \n"]})
def test_our_loader_reads_what_was_written(tree: Any) -> None:
    assert alike(read(emit({"x": tree}))["x"], tree)


def without_surrogates(text: str) -> bool:
    """Bytes that are no UTF-8 are bytes to PyYAML."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


PLAIN = TEXTS.filter(without_surrogates)
WORDS = st.one_of(
    PLAIN, st.none(), st.booleans(), st.integers(), st.floats(1e-4, 1e5), st.sampled_from([-math.inf])
)
TREES_FOR_ALL = st.recursive(
    WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3), max_leaves=6
)


@settings(max_examples=200, deadline=None)
@given(TREES_FOR_ALL)
@example(
    ["2001-12-14 21:59:43.10 -5", "2020-13-01", "0b_", ".5_1", "-.5_", "1:1.", "0_", "190:20:30", "1_0.5"]
)
@example({"=": "<<", "<<": "=", "y": "n", "on": "off"})
def test_a_reader_of_yaml_1_1_reads_the_same(tree: Any) -> None:
    assert alike(yaml.safe_load(emit({"x": tree}))["x"], tree)


def test_names_are_in_natural_order() -> None:
    names = ["n10", "n2", "n02", "é", "ab", "a_b", "a1", "a-b", "a.b", "N", "1", "n"]
    assert natural(names) == ["1", "N", "a-b", "a.b", "a_b", "a1", "ab", "n", "n2", "n02", "n10", "é"]


def test_keys_of_the_specification_come_in_the_order_of_their_type() -> None:
    service = {"x-b": 1, "working_dir": "/", "image": "x", "build": {"x-a": 1, "args": {}, "context": "."}}
    document = {"x-y": 1, "services": {"b10": {}, "b9": service}, "name": "n"}
    found = ordered(document)
    assert found == document
    assert list(found) == ["name", "services", "x-y"]
    assert list(found["services"]) == ["b9", "b10"]
    assert list(found["services"]["b9"]) == ["build", "image", "working_dir", "x-b"]
    assert list(found["services"]["b9"]["build"]) == ["context", "args", "x-a"]


# What canonical form turns into other keys, or moves.
NOT_CANONICAL = ("services.*.extends.", "include", "version", ".external.name", ".options.*", "models.*.")


def test_every_key_of_the_specification_has_a_place() -> None:
    from compose.model.key_order import _FIELDS

    known = {
        f"{path}.{field}".removeprefix(".") for path, fields in _FIELDS.items() for field in fields.split()
    }
    missing = [row.key for row in rows() if row.key not in known and not row.key.endswith("*")]
    assert [key for key in missing if not any(part in key for part in NOT_CANONICAL)] == []
