"""The grammar of .env files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import ModelError
from compose.model.dotenv import parse, parse_raw

ENVIRONMENT = {"SHELL_VAR": "shell", "BOTH": "shell"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("\ufeffA=1", {"A": "1"}),
        ("export A=1\nexport   B=2", {"A": "1", "B": "2"}),
        ("A: yaml", {"A": "yaml"}),
        ("# comment\n\n  A=1 # comment\nB=a#b\n", {"A": "1", "B": "a#b"}),
        ("A='single $X # x'", {"A": "single $X # x"}),
        ('A="a\\nb\\t\\"c\\" \\$X $$Y"', {"A": 'a\nb\t"c" $X $Y'}),
        ('A="multi\nline"\nB=2', {"A": "multi\nline", "B": "2"}),
        ("A='it\\'s'", {"A": "it's"}),
        ("A=\nB= spaced  ", {"A": "", "B": "spaced"}),
        ("SHELL_VAR\nUNSET\nA=1", {"SHELL_VAR": "shell", "A": "1"}),
        ("A=1\nB=$A-${A}-${U:-d}-$SHELL_VAR", {"A": "1", "B": "1-1-d-shell"}),
        ("BOTH=file\nA=$BOTH", {"BOTH": "file", "A": "shell"}),
        ("A.b-c[0]=1", {"A.b-c[0]": "1"}),
        ('A="\\0101"', {"A": "A"}),
        ("A='x'\nB=2", {"A": "x", "B": "2"}),
        ("", {}),
        ("# only a comment", {}),
    ],
)
def test_grammar(text: str, expected: dict[str, str]) -> None:
    assert parse(text.encode(), ".env", ENVIRONMENT.get) == expected


def test_bytes_that_are_not_utf8_survive() -> None:
    value = parse(b"A=\xe9", ".env", ENVIRONMENT.get)["A"]
    assert value.encode("utf-8", "surrogateescape") == b"\xe9"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nB!=2", ".env:2:2: `!` cannot stand in the name of a variable"),
        ("A=1\nB='open", ".env:2:3: the value that begins with ' here has no closing '"),
        ("A=${X", ".env:1:3: invalid interpolation: `${X` is not closed with `}`"),
        ("A B=1", ".env:1:1: `A B` is not a name: it contains a space"),
        ("A=${X:?why}", ".env:1:3: the variable X is needed: why"),
    ],
)
def test_error_has_its_place(text: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse(text.encode(), ".env", ENVIRONMENT.get)
    assert str(caught.value) == message


def test_raw_format_takes_values_as_they_stand() -> None:
    text = b'# c\nA="q" # x\nB=$A\n\nSHELL_VAR\n'
    found = parse_raw(text, "raw.env", ENVIRONMENT.get, {})
    assert found == {"A": '"q" # x', "B": "$A", "SHELL_VAR": "shell"}


@given(st.binary())
def test_any_bytes_are_read_or_refused_with_a_place(data: bytes) -> None:
    try:
        parse(data, ".env", ENVIRONMENT.get)
    except ModelError as problem:
        assert str(problem).startswith(".env:")


def test_a_raw_file_that_is_not_utf_8_is_refused_with_its_place() -> None:
    with pytest.raises(ModelError, match=r"^raw\.env:2:4: is not UTF-8 text$"):
        parse_raw("A=é\nB=é".encode() + b"\xff", "raw.env", ENVIRONMENT.get, {})


def test_other_bytes_than_utf_8_go_through_elsewhere() -> None:
    found = parse(b"A='x\xffy'\nB=$A\n", "x.env", ENVIRONMENT.get)
    assert found["B"].encode("utf-8", "surrogateescape") == b"x\xffy"


def test_raw_lines_end_at_line_feeds_only() -> None:
    found = parse_raw(b"A=b\rC\x0bD=e\xe2\x80\xa8f\r\n B=2", "raw.env", ENVIRONMENT.get, {})
    assert found == {"A": "b\rC\x0bD=e\u2028f", "B": "2"}


@pytest.mark.parametrize("line", [b"A =b", b"A B=c", b"A B", b"=c"])
def test_raw_names_hold_no_spaces(line: bytes) -> None:
    with pytest.raises(ModelError, match=r"raw\.env:2:1: "):
        parse_raw(b"# names\n" + line, "raw.env", ENVIRONMENT.get, {})
