"""Every key of a service has a test of its effect inside a real container, and the table of them is true."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from compose.model.support import NOT_YET
from tests.support.attribute_tests import TESTS
from tests.support.schema import SCHEMA, covered, keys

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def parts(file: str) -> dict[str, str]:
    """What a module of tests consists of: the text of each function and constant, by its name."""
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            decorators = "".join(ast.unparse(one) for one in node.decorator_list)
            found[node.name] = f"{decorators}{ast.get_source_segment(text, node)}"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.get_source_segment(text, node) or ""
    return found


def whole(file: str, name: str) -> str:
    """The text of a test with all that it uses of its module."""
    known, seen, waiting = parts(file), {name}, [name]
    text = ""
    while waiting:
        one = known[waiting.pop()]
        text += one
        for word in set(re.findall(r"\w+", one)) & known.keys() - seen:
            if not word.startswith("test_"):
                seen.add(word)
                waiting.append(word)
    return text


def test_every_key_that_is_acted_on_has_a_test() -> None:
    never = {key.removeprefix("services.*.") for key in NOT_YET if key.startswith("services.")}
    paths = set(keys(SCHEMA["definitions"]["service"], ""))
    leaves = {path for path in paths if not any(other.startswith(f"{path}.") for other in paths)}
    missing = {path for path in leaves if not covered(path, {*never, *TESTS})}
    assert missing == {"build.pull"}  # it takes a registry
    assert {pattern for pattern in TESTS if pattern not in paths} == set()


@pytest.mark.parametrize("pattern", TESTS)
def test_the_test_of_a_key_has_that_key_in_its_file(pattern: str) -> None:
    file, _, name = TESTS[pattern].partition("::")
    assert name in parts(file)
    words = [word for word in pattern.split(".") if word != "*"]
    text = whole(file, name)
    assert [word for word in words if not re.search(rf"\b{word}\b", text)] == []
