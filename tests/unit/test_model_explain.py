"""Where the value of a variable, and a merged value, comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from compose.errors import ModelError, UsageError
from compose.model import load_explanation

if TYPE_CHECKING:
    from pathlib import Path

    from compose.model.explain import Explanation

FILES = {
    "compose.yaml": """\
services:
  web:
    image: nginx:${TAG:-latest}
    command: echo $TAG ${NOPE:-def} $NONE ${TAG:+set}
    env_file: [a.env, {path: raw.env, format: raw}]
    environment: [B=1]
    ports: ["80:80"]
  two:
    extends: web
    image: nginx:1
""",
    "over.yaml": """\
services:
  web:
    environment: {A: over, C: 3}
    ports: ["81:81"]
""",
    ".env": "# comment\nTAG=1\n\nTAG=2\n",
    "a.env": "A=file\nTAG=x\n",
    "raw.env": "# comment\n  D='4'\n",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A project of two files with variables from everywhere."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def explained(directory: Path, name: str, **environment: str) -> list[Explanation]:
    """Where a variable comes from."""
    return load_explanation(
        name, ["compose.yaml", "over.yaml"], variable=True, cwd=str(directory), environment=environment
    )


def origin(directory: Path, path: str, **options: Any) -> list[tuple[str, str, Any, str]]:
    """The layers of a value."""
    options.setdefault("files", ["compose.yaml", "over.yaml"])
    (found,) = load_explanation(path, variable=False, cwd=str(directory), environment={}, **options)
    return [tuple(one) for one in found.candidates]


def test_last_line_of_dotenv_wins_over_the_others_and_the_default(directory: Path) -> None:
    first, *_ = explained(directory, "TAG")
    assert first.value == "2"
    assert [tuple(one) for one in first.candidates] == [
        ("wins", ".env:4:1", "2", ""),
        ("loses", ".env:2:1", "1", ""),
        ("loses", "compose.yaml:3:12", "latest", "default in services.web.image"),
        ("wins", "compose.yaml:4:14", "set", "in its place in services.web.command"),
    ]


def test_environment_wins_over_files(directory: Path) -> None:
    first, *_ = explained(directory, "TAG", TAG="shell")
    assert [(one.state, one.place) for one in first.candidates[:2]] == [
        ("wins", "environment"),
        ("loses", ".env:4:1"),
    ]


def test_default_wins_where_nothing_is_set(directory: Path) -> None:
    (found,) = explained(directory, "NOPE")
    assert found.value is None
    assert found.candidates == [("wins", "compose.yaml:4:14", "def", "default in services.web.command")]


def test_what_is_not_set_is_empty(directory: Path) -> None:
    (found,) = explained(directory, "NONE")
    assert found.candidates == [("wins", "compose.yaml:4:14", "", "not set: empty in services.web.command")]


def test_variable_of_a_container(directory: Path) -> None:
    _, two, web = explained(directory, "A")
    assert two.subject == "services.two.environment.A"
    assert two.candidates == [("wins", "a.env:1:1", "file", "env_file")]
    assert [(one.state, one.place, one.value) for one in web.candidates] == [
        ("wins", "over.yaml:3:19", "over"),
        ("loses", "a.env:1:1", "file"),
    ]
    assert explained(directory, "D")[1].candidates[0].place == "raw.env:2:3"


def test_name_of_the_project(directory: Path) -> None:
    (found,) = explained(directory, "COMPOSE_PROJECT_NAME")
    assert found.candidates[0].place == "project"


def test_variable_of_an_included_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".env").write_text("TAG=inner\n")
    (tmp_path / "sub" / "compose.yaml").write_text("services: {b: {image: 'y:$TAG'}}\n")
    (tmp_path / "compose.yaml").write_text("include: [sub/compose.yaml]\nservices: {a: {image: 'x:$TAG'}}\n")
    (found,) = load_explanation("TAG", ["compose.yaml"], variable=True, cwd=str(tmp_path), environment={})
    assert [(one.state, one.place, one.value) for one in found.candidates] == [
        ("wins", "sub/.env:1:1", "inner"),
        ("wins", "compose.yaml:2:23", ""),
    ]


def test_needed_variable_is_explained_although_the_file_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: '${TAG:?give one}'}}\n")
    (found,) = load_explanation("TAG", ["compose.yaml"], variable=True, cwd=str(tmp_path), environment={})
    assert found.candidates == [("wins", "compose.yaml:1:23", None, "needed in services.a.image")]
    assert isinstance(found.problem, ModelError)


def test_nobody_asks_for_it(directory: Path) -> None:
    (found,) = explained(directory, "NOBODY")
    assert found.candidates == []


@pytest.mark.parametrize(
    ("path", "layers"),
    [
        ("services.web.image", [("wins", "compose.yaml:3:12", "nginx:2", "")]),
        (
            "services.two.image",
            [("wins", "compose.yaml:10:12", "nginx:1", ""), ("loses", "compose.yaml:3:12", "nginx:2", "")],
        ),
        ("services.web.environment.A", [("wins", "over.yaml:3:22", "over", "")]),
        ("services.web.environment.B", [("wins", "compose.yaml:6:19", "1", "")]),
        ("services.web.environment.TAG", [("wins", "a.env:2:1", "x", "")]),
        (
            "services.web.environment",
            [
                ("merged", "over.yaml:3:18", {"A": "over", "C": 3}, ""),
                ("merged", "compose.yaml:6:18", ["B=1"], ""),
            ],
        ),
        ("services.web.ports[1].target", [("wins", "over.yaml:4:13", 81, "")]),
        ("services.web.ports.0.target", [("wins", "compose.yaml:7:13", 80, "")]),
    ],
)
def test_origin_of_a_value(directory: Path, path: str, layers: list[Any]) -> None:
    assert origin(directory, path) == layers


def test_origin_of_what_is_implied(directory: Path) -> None:
    ((state, _, value, note),) = origin(directory, "networks.default.name")
    assert (state, note) == ("wins", "implied")
    assert value.endswith("_default")


def test_keys_may_hold_dots(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a.b: {image: x, labels: {c.d: e}}}\nx-y: {z: 1}\n")
    assert origin(tmp_path, "services.a.b.labels.c.d", files=None)[0][1:3] == ("compose.yaml:1:42", "e")
    assert origin(tmp_path, "x-y.z", files=None) == [("wins", "compose.yaml:2:10", 1, "")]


def test_override_mark_is_one_layer_that_wins(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x, command: [a]}}\n")
    (tmp_path / "compose.override.yaml").write_text("services: {a: {command: [b]}}\n")
    layers = origin(tmp_path, "services.a.command", files=None)
    assert [layer[1] for layer in layers] == ["compose.override.yaml:1:25", "compose.yaml:1:35"]


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("services.web.imag", "services.web has no `imag`", "did you mean `image`?"),
        ("service.web", "there is no `service.web`", "did you mean `services`?"),
        ("services.web.ports[7]", "services.web.ports has no `[7]`", None),
        ("services.web.image.x", "services.web.image has no `x`", None),
    ],
)
def test_path_that_leads_nowhere(directory: Path, path: str, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        origin(directory, path)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_what_a_later_file_replaces_loses(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services:\n  a:\n    image: x\n    ports: ['1:1']\n    command: [a]\n    dns: [d]\n"
        "    labels: [l=1]\n"
    )
    (tmp_path / "compose.override.yaml").write_text(
        "services:\n  a:\n    ports: !override ['2:2']\n    command: [b]\n    dns: [e]\n"
        "    labels: !reset []\n"
    )

    def layers(path: str) -> list[tuple[str, str]]:
        return [layer[:2] for layer in origin(tmp_path, f"services.a.{path}", files=None)]

    assert layers("ports") == [("wins", "compose.override.yaml:3:12"), ("loses", "compose.yaml:4:12")]
    assert layers("command") == [("wins", "compose.override.yaml:4:14"), ("loses", "compose.yaml:5:14")]
    assert layers("dns") == [("merged", "compose.override.yaml:5:10"), ("merged", "compose.yaml:6:10")]
    with pytest.raises(UsageError, match="services.a has no `labels.l`") as caught:
        layers("labels.l")
    above = origin(tmp_path, "services.a", files=None)
    assert above[0][2]["labels"] == "!reset"
    assert caught.value.hint == "compose.override.yaml:6:13 takes it away: !reset"


def test_what_a_reset_leaves_to_be_implied(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x, networks: [n]}}\nnetworks: {n: }\n")
    (tmp_path / "compose.override.yaml").write_text("services: {a: {networks: !reset []}}\n")
    (first, second) = origin(tmp_path, "services.a.networks", files=None)
    assert (first[0], first[2:]) == ("wins", ({"default": None}, "implied"))
    assert second[:2] == ("loses", "compose.yaml:1:36")


def test_services_that_are_not_active_have_origins_too(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x}, b: {image: y, profiles: [p]}}\n")
    assert origin(tmp_path, "services.b.image", files=None) == [("wins", "compose.yaml:1:38", "y", "")]


def test_the_empty_path_is_none(directory: Path) -> None:
    with pytest.raises(UsageError, match="the path is empty"):
        origin(directory, "")
