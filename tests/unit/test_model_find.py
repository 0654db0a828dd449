"""Which files, directory, name and variables a project has."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

import pytest

from compose.errors import ComposeError, UsageError
from compose.model import check_name, default_file, load

if TYPE_CHECKING:
    from pathlib import Path

    from compose.model import Project

FILE = "services: {a: {image: 'x:${V:-none}', volumes: ['./d:/d']}}\n"


def found(directory: Path, *files: str, **options: Any) -> Project:
    """The project that is found from a directory."""
    options.setdefault("environment", {})
    return load(list(files) or None, cwd=str(directory), **options)


def test_files_are_looked_for_in_the_directories_above(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    (tmp_path / ".env").write_text("V=above\n")
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    project = found(inner)
    assert project.directory == str(tmp_path)
    assert project.services["a"]["image"] == "x:above"
    assert default_file(str(inner))
    assert not default_file("/proc")


def test_first_default_name_wins_and_the_others_are_mentioned(tmp_path: Path) -> None:
    for name in ("compose.yml", "docker-compose.yml"):
        (tmp_path / name).write_text(FILE)
    project = found(tmp_path)
    assert project.files == [str(tmp_path / "compose.yml")]
    assert "compose.yml, docker-compose.yml; compose.yml is used" in project.warnings[0]


def test_compose_file_and_its_separator(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(f"services: {{{name}: {{image: x}}}}\n")
    project = found(tmp_path, environment={"COMPOSE_FILE": "a.yaml,b.yaml", "COMPOSE_PATH_SEPARATOR": ","})
    assert list(project.services) == ["a", "b"]


def test_first_file_gives_the_directory_unless_told(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "one.yaml").write_text(FILE)
    for options, directory in (({}, tmp_path / "sub"), ({"project_directory": "."}, tmp_path)):
        project = found(tmp_path, "sub/one.yaml", **options)
        assert project.directory == str(directory)
        assert project.services["a"]["volumes"][0]["source"] == str(directory / "d")


def test_file_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(FILE.encode())))
    project = found(tmp_path, "-", cache=str(tmp_path / "cache"))
    assert project.services["a"]["volumes"][0]["source"] == str(tmp_path / "d")


def test_environment_is_above_dotenv_and_later_env_files_above_earlier(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    for name in ("one", "two"):
        (tmp_path / f"{name}.env").write_text(f"V={name}\n")
    assert found(tmp_path, env_files=["one.env", "two.env"]).services["a"]["image"] == "x:two"
    assert (
        found(tmp_path, env_files=["one.env"], environment={"V": "shell"}).services["a"]["image"] == "x:shell"
    )
    assert (
        found(tmp_path, environment={"COMPOSE_ENV_FILES": "two.env,one.env"}).services["a"]["image"]
        == "x:one"
    )


def test_dotenv_can_be_switched_off(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    (tmp_path / ".env").write_text("V=file\n")
    assert found(tmp_path).services["a"]["image"] == "x:file"
    environment = {"COMPOSE_DISABLE_ENV_FILE": "1"}
    assert found(tmp_path, environment=environment).services["a"]["image"] == "x:none"
    environment = {"COMPOSE_DISABLE_ENV_FILE": "F"}
    assert found(tmp_path, environment=environment).services["a"]["image"] == "x:file"
    with pytest.raises(UsageError, match="COMPOSE_DISABLE_ENV_FILE is `yes`"):
        found(tmp_path, environment={"COMPOSE_DISABLE_ENV_FILE": "yes"})


def test_missing_env_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(FILE)
    with pytest.raises(ComposeError, match=r"^no\.env: does not exist"):
        found(tmp_path, env_files=["no.env"])


def test_name_by_precedence(tmp_path: Path) -> None:
    directory = tmp_path / "My Dir"
    directory.mkdir()
    (directory / "compose.yaml").write_text(FILE)
    assert found(directory).name == "mydir"
    (directory / "compose.yaml").write_text(f"name: In-File\n{FILE}")
    assert found(directory).name == "in-file"
    environment = {"COMPOSE_PROJECT_NAME": "from_env"}
    assert found(directory, environment=environment).name == "from_env"
    assert found(directory, environment=environment, project_name="given").name == "given"


@pytest.mark.parametrize("name", ["", "Upper", "-a", "a b", "../x", "a/b", "é", "a\n"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a project"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "0", "a-b_c", "a" * 200])
def test_names_that_can_be(name: str) -> None:
    assert check_name(name) == name


def test_profiles_of_named_services_are_active(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        "services:\n  a: {image: x}\n  b: {image: y, profiles: [p]}\n  c: {image: z, profiles: [q]}\n"
    )
    project = found(tmp_path, services=["b"])
    assert list(project.services) == ["a", "b"]
    assert list(project.disabled) == ["c"]


def test_value_of_a_secret_is_known_but_never_printed(tmp_path: Path) -> None:
    from compose.model.present import presented

    (tmp_path / "compose.yaml").write_text(
        "services: {a: {image: x, secrets: [s], configs: [c]}}\n"
        "secrets: {s: {environment: S}}\nconfigs: {c: {environment: S}}\n"
    )
    project = found(tmp_path, environment={"S": "hidden"})
    assert project.secrets["s"]["content"] == project.configs["c"]["content"] == "hidden"
    assert project.environment == {"S": "hidden"}
    assert "hidden" not in presented(project, "yaml") + presented(project, "json")


def test_both_dotenv_files_count_where_the_compose_file_lies_elsewhere(tmp_path: Path) -> None:
    """That of the working directory is above that beside the file, inside of it too."""
    (tmp_path / "below").mkdir()
    (tmp_path / "compose.yaml").write_text("services: {a: {image: x, command: ['$HERE', '$THERE', '$MADE']}}")
    (tmp_path / ".env").write_text("HERE=above\nTHERE=above\nMADE=$HERE\n")
    (tmp_path / "below" / ".env").write_text("HERE=below\n")
    environments: tuple[dict[str, str], ...] = ({}, {"COMPOSE_FILE": "../compose.yaml"})
    for environment in environments:
        project = load(cwd=str(tmp_path / "below"), environment=environment)
        assert project.services["a"]["command"] == ["below", "above", "below"]
