"""What is accepted without jsonschema, jsonschema accepts too; what it refuses is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from compose.errors import ComposeError
from compose.model import load as load_files
from compose.model import loader, schema
from compose.model.accept import Shapes
from tests.support.config_cases import cases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.model.tree import Map

NAMES = ("compose", "fig")
ILL: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("compose_errors.yaml").read_text(encoding="utf-8")
)


def refused(tree: Map, *, partial: bool) -> bool:
    """Whether jsonschema refuses a tree."""
    try:
        schema.refuse(tree, partial=partial)
    except ComposeError:
        return True
    return False


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bool]]:
    """What both judges say of every tree that is loaded: (accepted at once, refused by jsonschema)."""
    verdicts: list[tuple[bool, bool]] = []

    def validate(tree: Map, *, partial: bool, name: str = "compose") -> None:
        accepted = schema.shapes(name).accept(tree, partial=partial)
        verdicts.append((accepted, refused(tree, partial=partial)))
        schema.refuse(tree, partial=partial, name=name)

    monkeypatch.setattr(loader, "validate", validate)
    return verdicts


@pytest.mark.parametrize("case", cases(), ids=lambda case: str(case.name))
def test_both_judges_accept_every_good_file(case: Any, judged: list[tuple[bool, bool]]) -> None:
    load_files(case.files, cwd=str(case.directory), environment=case.environment, profiles=case.profiles)
    assert judged
    assert set(judged) == {(True, False)}


@pytest.mark.parametrize("name", ILL)
def test_no_ill_file_is_accepted_that_jsonschema_refuses(
    name: str, judged: list[tuple[bool, bool]], tmp_path: Path
) -> None:
    (tmp_path / "compose.yaml").write_text(ILL[name]["file"])
    with pytest.raises(ComposeError):
        load_files(["compose.yaml"], cwd=str(tmp_path), environment={})
    assert (True, True) not in judged


def words(value: Any) -> Iterator[str]:
    """Every key that a schema names."""
    if isinstance(value, dict):
        yield from value.get("properties", {})
        for one in value.values():
            yield from words(one)
    elif isinstance(value, list):
        for one in value:
            yield from words(one)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 70_000)
    | st.floats()
    | st.sampled_from(("", "x", "80", "tcp"))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("x-y", "y", "source", "target", "file")), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("name", sorted(schema.document()["definitions"]))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_nothing_is_accepted_that_jsonschema_refuses(name: str, data: st.DataObject) -> None:
    definition = schema.document()["definitions"][name]
    keys = sorted(set(words(definition))) or ["a"]
    value = data.draw(VALUES | st.dictionaries(st.sampled_from(keys), VALUES, max_size=4))
    whole = {**definition, "definitions": schema.document()["definitions"]}
    if Shapes(whole).accept(value, partial=False):
        assert jsonschema.Draft7Validator(whole).is_valid(value)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({"type": "integer"}, True),
        ({"type": "number"}, False),
        ({"type": "integer"}, 1.5),
        ({"type": "integer"}, float("nan")),
        ({"enum": [1]}, True),
        ({"uniqueItems": True}, [1, 1.0]),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 1}]),
        ({"minimum": 1}, float("nan")),
        ({"maxLength": 2}, "abc"),
        ({"properties": {"a": False}}, {"a": 1}),
        ({"items": [{"type": "string"}]}, [1]),
        ({"const": 1}, 2),
        ({"anyOf": [{"type": "string"}]}, 1),
        ({"multipleOf": 2}, 3),
    ],
)
def test_doubts_are_left_to_jsonschema(rule: dict[str, Any], value: Any) -> None:
    assert not Shapes(rule).accept(value, partial=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_keyword_of_our_schemas_is_known(name: str) -> None:
    """Else each file that uses such a key would load jsonschema: slower, and nobody would notice."""
    jsonschema.Draft7Validator.check_schema(schema.document(name))
    shapes = schema.shapes(name)

    def visit(value: Any) -> None:
        if isinstance(value, dict) and not isinstance(value.get("definitions"), str):
            if "type" in value and isinstance(value["type"], (str, list)):
                assert not shapes._shape(value).doubtful, value
            for one in value.values():
                visit(one)

    visit(schema.document(name))


SCRIPT = """
import sys
from compose.model import load
load(["compose.yaml"], cwd=sys.argv[1], environment={})
print(sorted({"jsonschema", "networkx", "referencing", "hashlib"} & set(sys.modules)))
"""


def test_a_good_file_is_loaded_without_jsonschema_and_networkx(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x, depends_on: [b]}, b: {image: y}}\n")
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
