"""`config` says what docker compose says, value by value and in the same words, on every file of ours.

Where docker compose can be had (tests/support/peer.py) it is asked on the spot, and what was recorded of it
must still be what it says; else the record stands in for it.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from compose.cli.main import main
from compose.model import load, loader
from compose.model.supported import rows
from tests.support import config_cases, peer
from tests.support.config_cases import BASE_ENVIRONMENT, Case, case, cases
from tests.unit.test_model_canonical import differences

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ILL: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("compose_errors.yaml").read_text(encoding="utf-8")
)
# Keys of the specification that docker compose 2.40 does not know yet, or loses.
NOT_IN_PEER = ("services.*.pre_start", "services.*.pull_refresh_after", "services.*.build.no_cache_filter")
LOST_BY_PEER = ("networks.*.ipam.options",)
# Lines that the text has, or lacks, on purpose: rows of docs/compose-file.md.
OTHER_LINES = {
    "environment": ["-      EQ: =", '+      EQ: "="'],
    "interpolation": ["-      $${VAR}: key-is-not-interpolated", "+      ${VAR}: key-is-not-interpolated"],
    "override": ["-      - a=1.1.1.1"],
    "profiles": [
        "-    depends_on:",
        "-      debug:",
        "-        condition: service_started",
        "-        required: false",
    ],
}


@pytest.fixture(scope="session")
def program() -> str | None:
    """The docker compose program, where it can be had."""
    return peer.program()


class Ours:
    """What our command prints for a case."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capfd = capfd
        self._tmp = tmp_path

    def json(self, one: Case) -> Any:
        """As values."""
        return json.loads(self.text(one, "json") or "null")

    def text(self, one: Case, kind: str = "yaml") -> str | None:
        """As YAML or JSON; None where it is refused."""
        return self._run(one, kind)

    def _run(self, one: Case, kind: str) -> str | None:
        with self._monkeypatch.context() as patch:
            for name in list(os.environ):
                patch.delenv(name)
            for name, value in one.environment.items():
                patch.setenv(name, value)
            patch.setenv("PYCOMPOSE_DATA_DIR", str(self._tmp / "data"))
            patch.setenv("PYCOMPOSE_RUN_DIR", str(self._tmp / "run"))
            patch.chdir(one.directory)
            files = [word for name in one.files for word in ("-f", name)]
            profiles = [word for name in one.profiles for word in ("--profile", name)]
            code = main([*files, *profiles, "config", "--format", kind, *one.options])
        printed = self._capfd.readouterr().out
        return None if code else printed


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Ours:
    """Our command, with places of its own for data."""
    return Ours(monkeypatch, capfd, tmp_path)


def other_lines(expected: str, found: str | None) -> list[str]:
    """The lines that only one of two texts has."""
    assert found is not None
    lines = difflib.unified_diff(expected.split("\n"), found.split("\n"), n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


@pytest.mark.parametrize("one", cases(), ids=lambda one: str(one.name))
def test_we_say_what_docker_compose_says(one: Case, program: str | None, ours: Ours) -> None:
    expected = one.expected()
    text = ours.text(one, "json") or "null"
    assert not list(differences(expected, json.loads(text)))
    if program is not None:
        said = config_cases.ask_text(program, one, "json")
        assert one.here(said) == expected, "the record is out of date"
        assert text == one.paths_of_here(said)


@pytest.mark.parametrize("one", cases(), ids=lambda one: str(one.name))
def test_we_say_it_in_the_same_words(one: Case, program: str | None, ours: Ours) -> None:
    expected = one.expected_text.read_text(encoding="utf-8")
    if program is not None:
        assert config_cases.ask_text(program, one) == expected, "the record is out of date"
    assert other_lines(one.paths_of_here(expected), ours.text(one)) == OTHER_LINES.get(one.name, [])


def pairs() -> list[tuple[Case, Case]]:
    """Some cases, each with another one that is to be laid over it."""
    alone = [one for one in cases() if not one.options]
    return list(zip(alone[::3], alone[1::3], strict=False))


@pytest.mark.parametrize(("one", "over"), pairs(), ids=lambda one: str(one.name))
def test_we_say_the_same_of_one_case_laid_over_another(
    one: Case, over: Case, program: str | None, ours: Ours
) -> None:
    """Nothing is recorded: without docker compose they only have to come to a project, or to be refused."""
    both = one._replace(
        files=[*one.files, *(f"../{over.name}/{file}" for file in over.files)],
        profiles=["*"],
        environment={**one.environment, **over.environment},
    )
    found = ours.text(both)
    if program is None:
        assert found is None or yaml.safe_load(found)["services"]
        return
    try:
        expected = both.paths_of_here(config_cases.ask_text(program, both))
    except SystemExit:
        assert found is None
        return
    known = {*OTHER_LINES.get(one.name, ()), *OTHER_LINES.get(over.name, ())}
    assert [line for line in other_lines(expected, found) if line not in known] == []


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_we_say_what_docker_compose_says_of_an_example(name: str, program: str | None, ours: Ours) -> None:
    """Examples change often, so nothing is recorded: without docker compose they only have to load."""
    example = case(EXAMPLES / name)
    found, text = ours.json(example), ours.text(example)
    if program is not None:
        assert not list(differences(example.here(config_cases.ask(program, example)), found))
        assert text == example.paths_of_here(config_cases.ask_text(program, example))


@pytest.mark.parametrize("name", ILL)
def test_docker_compose_refuses_what_we_refuse(name: str, program: str | None, tmp_path: Path) -> None:
    """Or it is recorded that it does not: `peer: accepts` stands for a row of docs/compose-file.md."""
    assert ILL[name].get("peer", "accepts") == "accepts"
    if program is not None:
        (tmp_path / "compose.yaml").write_text(ILL[name]["file"])
        command = [program, "-f", "compose.yaml", "config", "--quiet"]
        done = subprocess.run(command, cwd=tmp_path, env=BASE_ENVIRONMENT, capture_output=True, check=False)
        assert (done.returncode == 0) is ("peer" in ILL[name])


def keys(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every path of keys in a tree."""
    items = value.items() if isinstance(value, dict) else [("*", one) for one in value]
    for key, one in items:
        yield (*path, key)
        if isinstance(one, (dict, list)):
            yield from keys(one, (*path, key))


def test_cases_hold_every_key_of_the_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[str, ...]] = set()
    prepared = loader.Group._prepared

    def spy(group: loader.Group, document: Any, at: Any, *, partial: bool = True) -> Any:
        seen.update(keys(document))
        return prepared(group, document, at, partial=partial)

    monkeypatch.setattr(loader.Group, "_prepared", spy)
    everything = cases()
    assert len(everything) >= 60
    for one in everything:
        load(one.files, cwd=str(one.directory), environment=one.environment, profiles=one.profiles)

    def there(pattern: list[str]) -> bool:
        return any(
            len(path) == len(pattern)
            and all(wanted in ("*", part) or part == "*" for wanted, part in zip(pattern, path, strict=True))
            for path in seen
        )

    missing = [row.key for row in rows() if not there(row.key.split("."))]
    assert [key for key in missing if not key.startswith((*NOT_IN_PEER, *LOST_BY_PEER))] == []
