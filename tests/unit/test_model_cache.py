"""A project comes from the cache exactly when nothing that went into it has changed."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from compose.model import assemble as assembling
from compose.model import cache as caching
from compose.model import hash_of, load

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
include: [sub/compose.yaml]
services:
  web:
    image: "nginx:${TAG:-latest}"
    env_file: [{path: web.env, required: false}]
    depends_on: [db]
"""
INCLUDED = "services: {db: {image: mariadb}}\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A project of two files, and room for a cache."""
    (tmp_path / "compose.yaml").write_text(FILE)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "compose.yaml").write_text(INCLUDED)
    return tmp_path


class Loader:
    """Loads one project again and again, and counts how often it had to be made."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.environment: dict[str, str] = {}
        self.made = 0
        original = assembling.assemble

        def counting(request: Any) -> Any:
            self.made += 1
            return original(request)

        monkeypatch.setattr(assembling, "assemble", counting)

    def load(self, **options: Any) -> dict[str, Any]:
        """The project's data."""
        project = load(
            cwd=str(self.directory),
            environment=self.environment,
            cache=str(self.directory / "cache"),
            **options,
        )
        return project.data()


@pytest.fixture
def loader(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    return Loader(directory, monkeypatch)


def test_second_load_is_answered_by_the_cache(loader: Loader) -> None:
    assert loader.load() == loader.load()
    assert loader.made == 1


def test_what_comes_from_the_cache_knows_places(loader: Loader, directory: Path) -> None:
    for _ in range(2):
        project = load(cwd=str(directory), environment={}, cache=str(directory / "cache"))
        assert str(project.where(("services", "web", "image"))) == "compose.yaml:4:5"
        assert str(project.where(("services", "db", "image"))) == "sub/compose.yaml:1:17"
        assert project.order == ["db", "web"]


@pytest.mark.parametrize("name", ["compose.yaml", "sub/compose.yaml"])
def test_a_changed_file_is_read_again(loader: Loader, directory: Path, name: str) -> None:
    loader.load()
    with (directory / name).open("a") as file:
        file.write("x-changed: 1\n")
    loader.load()
    assert loader.made == 2


@pytest.mark.parametrize("name", [".env", "web.env", "sub/.env", "compose.override.yaml"])
def test_a_file_that_was_missing_and_appears_is_read(loader: Loader, directory: Path, name: str) -> None:
    loader.load()
    (directory / name).write_text("services: {}\n" if name.endswith("yaml") else "A=1\n")
    loader.load()
    assert loader.made == 2


def test_only_the_variables_that_were_asked_for_matter(loader: Loader) -> None:
    loader.load()
    loader.environment = {"OTHER": "1"}
    loader.load()
    assert loader.made == 1
    loader.environment = {"TAG": "2"}
    assert loader.load()["services"]["web"]["image"] == "nginx:2"
    assert loader.made == 2


def test_other_options_are_another_project(loader: Loader) -> None:
    loader.load()
    assert loader.load(project_name="other")["name"] == "other"
    assert loader.made == 2


def test_a_damaged_entry_counts_as_none(loader: Loader, directory: Path) -> None:
    expected = loader.load()
    for path in (directory / "cache" / "model").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_text(path.read_text()[:40])
    assert loader.load() == expected
    assert loader.made == 2


def test_an_entry_of_a_former_state_goes_away(loader: Loader, directory: Path) -> None:
    for tag in "123":
        loader.environment = {"TAG": tag}
        loader.load()
    assert len(list((directory / "cache" / "model").iterdir())) == 2


def test_the_cache_does_not_grow_for_ever(
    loader: Loader, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caching, "MOST_ENTRIES", 6)
    for number in range(20):
        loader.load(project_name=f"p{number}")
    assert len(list((directory / "cache" / "model").iterdir())) <= 8
    loader.load(project_name="p19")
    assert loader.made == 20


def test_a_cache_that_cannot_be_written_is_no_error(directory: Path) -> None:
    (directory / "cache").write_text("a file")
    assert load(cwd=str(directory), environment={}, cache=str(directory / "cache")).name


def test_an_entry_for_which_there_is_no_room_leaves_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*about: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert load(cwd=str(directory), environment={}, cache=str(directory / "cache")).name
    assert not os.listdir(directory / "cache" / "model")


def test_errors_are_not_kept(loader: Loader, directory: Path) -> None:
    (directory / "sub" / "compose.yaml").unlink()
    for _ in range(2):
        with pytest.raises(Exception, match="there is no file"):
            loader.load()
    assert loader.made == 2


SCRIPT = """
import json, sys
from compose.model import load
load(cwd=sys.argv[1], environment={}, cache=sys.argv[1] + "/cache")
print(json.dumps(sorted(sys.modules)))
"""


def test_a_cached_load_imports_nothing_heavy(directory: Path) -> None:
    heavy = {"yaml", "jsonschema", "networkx", "typing", "dataclasses", "inspect", "asyncio", "pathlib"}
    for expected in (False, True):
        done = subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                f"import sys; sys.path[:0] = {sys.path!r}\n{SCRIPT}",
                str(directory),
            ],
            capture_output=True,
            check=True,
        )
        modules = set(json.loads(done.stdout))
        assert bool(modules & {"yaml", "jsonschema"}) is not expected
    assert not modules & heavy


def test_loading_a_hundred_times_gives_the_same_bytes(directory: Path) -> None:
    def once(_: int) -> str:
        return json.dumps(load(cwd=str(directory), environment={"TAG": "1"}).data())

    assert len({once(number) for number in range(100)}) == 1


def service(directory: Path, text: str) -> Any:
    """One service in canonical form."""
    (directory / "one.yaml").write_text(f"services: {{a: {{image: x, {text}}}}}\n")
    return load(["one.yaml"], cwd=str(directory), environment={}).services["a"]


def test_hash_changes_with_what_a_container_is_made_of(tmp_path: Path) -> None:
    first = hash_of(service(tmp_path, "environment: {A: 1}"))
    assert hash_of(service(tmp_path, "environment: ['A=1']")) == first
    assert hash_of(service(tmp_path, "environment: {A: 2}")) != first


@pytest.mark.parametrize(
    "text", ["scale: 3", "build: .", "pull_policy: always", "profiles: []", "deploy: {replicas: 2}"]
)
def test_hash_leaves_out_how_many_and_how_made(tmp_path: Path, text: str) -> None:
    plain = service(tmp_path, "deploy: {}" if "deploy" in text else "scale: 1")
    assert hash_of(service(tmp_path, text)) == hash_of(plain)


def test_cache_lies_where_it_is_told(directory: Path) -> None:
    load(cwd=str(directory), environment={}, cache=str(directory / "cache"))
    assert sorted(os.listdir(directory)) == ["cache", "compose.yaml", "sub"]
