"""The grammar of Dockerfiles: lines, directives, here-documents, words, variables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import BuildError
from compose.images.build.builder import plan_stages
from compose.images.build.parser import Instruction, Place, parse
from compose.images.build.words import expand, expand_raw, json_words, pairs, split

PLACE = Place("Dockerfile", 1)


def instructions(text: str) -> list[Instruction]:
    return parse(text.encode(), "Dockerfile").instructions


def one(text: str) -> Instruction:
    (found,) = instructions(text)
    return found


def test_lines_are_continued_and_comments_in_them_dropped() -> None:
    found = instructions("# first\n\nFROM a\nRUN one \\\n# comment\n   two \\  \n\n  three\n  run four\n")
    assert [(item.name, item.text, item.place.line) for item in found] == [
        ("FROM", "a", 3),
        ("RUN", "one    two   three", 4),
        ("RUN", "four", 9),
    ]


def test_the_escape_can_be_a_backtick() -> None:
    found = parse(b"# syntax=x/y:1\n# escape=`\nFROM a\nRUN a `\n  b\\\n", "Dockerfile")
    assert found.escape == "`"
    assert found.instructions[1].text == "a   b\\"


def test_directives_end_at_the_first_other_line() -> None:
    assert parse(b"\n# escape=`\nFROM a\n", "Dockerfile").escape == "\\"
    assert parse(b"# note\n# escape=`\nFROM a\n", "Dockerfile").escape == "\\"


def test_a_doubled_escape_at_the_end_continues_nothing() -> None:
    found = instructions("FROM a\nENV A=b\\\\\nRUN x")
    assert [item.name for item in found] == ["FROM", "ENV", "RUN"]


def test_windows_lines_and_byte_order_mark() -> None:
    assert [item.text for item in instructions("\ufeffFROM a\r\nRUN b \\\r\n c\r\n")] == ["a", "b  c"]


def test_flags_come_before_the_text() -> None:
    found = one("COPY --from=x --chown=a:b --link --chmod='755' a --b c")
    assert found.flags == (("from", "x"), ("chown", "a:b"), ("link", ""), ("chmod", "755"))
    assert found.text == "a --b c"


def test_heredocs() -> None:
    found = one("RUN <<EOF\necho 1\n  EOF\nEOF\n")
    assert [(item.name, item.content, item.expand) for item in found.heredocs] == [
        ("EOF", "echo 1\n  EOF\n", True)
    ]
    found = one("COPY <<a <<-'b' /x/\n1\na\n\t2\n\tb\n")
    assert [(item.name, item.content, item.expand) for item in found.heredocs] == [
        ("a", "1\n", True),
        ("b", "2\n", False),
    ]
    assert one('RUN echo "<<EOF" a<<<b').heredocs == ()
    assert len(one("RUN cat <<X && cat <<Y\nx\nX\ny\nY\n").heredocs) == 2
    assert [item.name for item in instructions("FROM a\nRUN <<E\nRUN no\nE\nRUN yes")] == [
        "FROM",
        "RUN",
        "RUN",
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("FROM a\nFRMO b\n", 2, "unknown instruction FRMO"),
        ("FROM a\nRUN <<EOF\nx\n", 2, "does not end"),
        ("FROM a\nENV\n", 2, "needs an argument"),
        ("# escape=x\nFROM a\n", 1, "escape=x"),
        ("# escape=`\n# escape=`\nFROM a\n", 2, "twice"),
        ("", 1, "no instruction"),
        ("FROM a\n\x00", 2, "NUL"),
        ("RUN a\n", 1, "before the first FROM"),
        ("ARG a\n", 1, "no FROM"),
        ("FROM a b\n", 1, "FROM needs"),
        ("FROM a AS x\nFROM b AS X\n", 2, "two stages"),
        ("FROM a AS 1\n", 1, "not a name"),
        ("FROM a\nRUN --mount=type=cache,target=/x y\n", 2, "--mount is not supported yet"),
        ("FROM a\nRUN --network=none y\n", 2, "--network=none"),
        ("FROM a\nCOPY a\n", 2, "a source and a destination"),
        ("FROM a\nCOPY --parents a b\n", 2, "--parents is not supported"),
        ("FROM a\nCOPY --nope a b\n", 2, "no flag --nope"),
        ("FROM a\nADD --from=x a b\n", 2, "no flag --from"),
        ("FROM a\nSHELL /bin/sh -c\n", 2, "JSON"),
        ("FROM a\nENV a b=c d\nENV =x\n", 3, "not of the form"),
        ("FROM a\nENV a=1 b\n", 2, "not of the form"),
        ("FROM a\nENV a\n", 2, "has no value"),
        ("FROM a\nARG 1x=2\n", 2, "not a name"),
        ("FROM a\nHEALTHCHECK test\n", 2, "CMD"),
        ("FROM a\nHEALTHCHECK --interval=soon CMD x\n", 2, "not a duration"),
        ("FROM a\nHEALTHCHECK --retries=0 CMD x\n", 2, "1 or more"),
        ("FROM a\nHEALTHCHECK NONE x\n", 2, "NONE takes"),
        ("FROM a\nONBUILD FROM b\n", 2, "ONBUILD FROM"),
        ("FROM a\nONBUILD NOPE b\n", 2, "unknown instruction"),
        ("FROM a\nCOPY --chown=a --chown=b x y\n", 2, "twice"),
    ],
)
def test_errors_name_file_and_line(text: str, line: int, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        plan_stages(parse(text.encode(), "web/Dockerfile"))
    assert caught.value.message.startswith(f"web/Dockerfile:{line}: ")
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_not_utf8_names_the_line() -> None:
    with pytest.raises(BuildError, match=r"^D:2: not UTF-8"):
        parse(b"FROM a\nRUN \xff\n", "D")


def test_a_misspelt_instruction_gets_a_suggestion() -> None:
    with pytest.raises(BuildError) as caught:
        instructions("FORM a")
    assert caught.value.hint == "did you mean FROM?"


VARIABLES = {"A": "1", "EMPTY": "", "PATHS": "/usr/local/bin", "S": "a b"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A", "1"),
        ("${A}x$A-", "1x1-"),
        ("$NONE|${NONE}", "|"),
        ("${NONE:-d}${EMPTY:-d}${A:-d}", "dd1"),
        ("${NONE-d}${EMPTY-d}${A-d}", "d1"),
        ("${NONE:+y}${EMPTY:+y}${A:+y}", "y"),
        ("${NONE+y}${EMPTY+y}${A+y}", "yy"),
        ("${NONE:-${A:+$S}}", "a b"),
        ("${NONE:-'$A'}", "$A"),
        ('${NONE:-"}"}', "}"),
        (r"\$A \\ \" \x", r'$A \ " x'),
        ("'$A \\'", "$A \\"),
        (r'"$A \$A \x \" \\"', r'1 $A \x " \\'.replace("\\\\", "\\")),
        ("a$ $", "a$ $"),
        ("$$A", "$1"),
        ("${PATHS#*/}", "usr/local/bin"),
        ("${PATHS##*/}", "bin"),
        ("${PATHS%/*}", "/usr/local"),
        ("${PATHS%%/l*}", "/usr"),
        ("${PATHS/local/x}", "/usr/x/bin"),
        ("${PATHS//\\//:}", ":usr:local:bin"),
        ("${PATHS/?s?/$A}", "/1/local/bin"),
        ("${A/1}", ""),
        ("\"a\"'b'c", "abc"),
        ("", ""),
    ],
)
def test_variables(text: str, result: str) -> None:
    assert expand(text, VARIABLES.get, "\\", PLACE) == result


def test_variables_with_another_escape() -> None:
    assert expand("`$A \\$A", VARIABLES.get, "`", PLACE) == "$A \\1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${A", "missing"),
        ("${}", "without a name"),
        ("${1x}", "not supported"),
        ("${A!b}", "not supported"),
        ("${NONE:?must be set}", "NONE: must be set"),
        ("${NONE?}", "NONE: not set"),
        ("'a", "does not end"),
        ('"a', "does not end"),
        ("${A:-" * 5000, "nested too deeply"),
    ],
)
def test_wrong_variables_are_errors(text: str, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        expand(text, VARIABLES.get, "\\", PLACE)


def test_heredoc_content_keeps_its_quotes() -> None:
    text = "'$A' \"${A}\" \\$A \\n \\\\\n"
    assert expand_raw(text, VARIABLES.get, "\\", PLACE) == "'1' \"1\" $A \\n \\\n"


def test_words() -> None:
    assert split("a  'b c' \"d e\"f g\\ h", "\\") == ["a", "'b c'", '"d e"f', "g\\ h"]
    assert json_words('["a", "b c"]') == ["a", "b c"]
    assert json_words("[a]") is json_words('["a", 1]') is json_words("['a']") is json_words('["a"') is None
    assert json_words("[" * 100_000) is None


def test_pairs() -> None:
    assert pairs("a=1 b='2 3' c=4\\ 5", "\\", PLACE, "ENV") == [("a", "1"), ("b", "'2 3'"), ("c", "4\\ 5")]
    assert pairs("a  b=c d", "\\", PLACE, "ENV") == [("a", "b=c d")]


@given(st.text(alphabet="FROMRUNaA \t\n\\\"'${}:-+<>#=[]`EOF\r", max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        plan_stages(parse(text.encode(), "D"))
    except BuildError as error:
        assert error.message.startswith("D:")


@given(st.text(alphabet="aA1${}:-+?#%/\\\"' *", max_size=60))
def test_any_word_is_expanded_or_refused(text: str) -> None:
    try:
        expand(text, VARIABLES.get, "\\", PLACE)
    except BuildError:
        pass
