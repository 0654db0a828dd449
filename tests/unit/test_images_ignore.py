""".dockerignore, as the reference describes it and Docker has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import BuildError
from compose.images.build.ignore import Ignore


@pytest.mark.parametrize(
    ("rules", "excluded", "included"),
    [
        ("*.log", ["a.log"], ["d/a.log", "a.logs"]),
        ("**/*.log", ["a.log", "d/a.log", "d/e/a.log"], ["a.txt"]),
        ("*/temp*", ["a/temp", "a/temp.txt", "a/temp/x"], ["temp", "a/b/temp"]),
        ("*/*/temp*", ["a/b/temp.txt"], ["a/temp.txt"]),
        ("temp?", ["tempa", "tempb/x"], ["temp", "tempab"]),
        ("/sub/", ["sub", "sub/a"], ["a/sub"]),
        ("./a/../b", ["b"], ["a"]),
        ("*\n!README.md", ["a", "src/x"], ["README.md"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["x.md", "README-secret.md"], ["README.md", "README-x.md"]),
        ("a\n!a/b\n", ["a", "a/c"], ["a/b", "a/b/c"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "b"]),
        ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/b"]),
        ("**", ["a", "a/b"], []),
        ("[a-c]x", ["ax", "cx"], ["dx", "-x"]),
        ("[^a]x", ["bx"], ["ax", "/x"]),
        ("[\\-a]x", ["-x", "ax"], ["bx", "\\x"]),
        ("[+-\\-[&&~~||]x", ["+x", ",x", "-x", "[x", "&x"], [".x", "ax"]),
        ("\\*x", ["*x"], ["ax"]),
        ("# a\n\n  b  \n", ["b"], ["a", "# a"]),
        ("\ufeffa", ["a"], []),
        ("a.b", ["a.b"], ["axb"]),
        ("!a", [], ["a"]),
    ],
)
def test_rules(rules: str, excluded: list[str], included: list[str]) -> None:
    ignore = Ignore(rules)
    assert [path for path in excluded if not ignore.excludes(path)] == []
    assert [path for path in included if ignore.excludes(path)] == []


def test_the_context_itself_is_never_excluded() -> None:
    assert not Ignore("*\n.").excludes("")


def test_exceptions_are_known() -> None:
    assert Ignore("a\n!b").has_exceptions
    assert not Ignore("a").has_exceptions


@pytest.mark.parametrize("rules", ["a\n!\n", "a\n[b\n", "a\n\\\n", "a\n[a-]\n", "a\n[?--]\n", "a\n[c-a]\n"])
def test_errors_name_the_line(rules: str) -> None:
    with pytest.raises(BuildError, match=r"^x/.dockerignore:2: "):
        Ignore(rules, "x/.dockerignore")


@given(st.text(alphabet="ab*?[]!^-\\/.# \n", max_size=40), st.text(alphabet="ab/", min_size=1, max_size=10))
def test_any_rules_decide_or_are_refused(rules: str, path: str) -> None:
    try:
        Ignore(rules).excludes(path)
    except BuildError:
        pass
