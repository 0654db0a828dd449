"""`config --format json` says what docker compose says, value by value, on every file of the repository.

Where docker compose can be had (tests/support/peer.py) it is asked on the spot, and what was recorded of it
must still be what it says; else the record stands in for it.
"""

from __future__ import annotations

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


@pytest.fixture(scope="session")
def program() -> str | None:
    """The docker compose program, where it can be had."""
    return peer.program()


def ours(one: Case, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp: Path) -> Any:
    """What our command prints for a case."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in one.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYCOMPOSE_DATA_DIR", str(tmp / "data"))
    monkeypatch.setenv("PYCOMPOSE_RUN_DIR", str(tmp / "run"))
    monkeypatch.chdir(one.directory)
    files = [word for name in one.files for word in ("-f", name)]
    profiles = [word for name in one.profiles for word in ("--profile", name)]
    assert main([*files, *profiles, "config", "--format", "json", *one.options]) == 0
    return json.loads(capfd.readouterr().out)


@pytest.mark.parametrize("one", cases(), ids=lambda one: str(one.name))
def test_we_say_what_docker_compose_says(
    one: Case,
    program: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    expected = one.expected()
    if program is not None:
        assert one.here(config_cases.ask(program, one)) == expected, "the record is out of date"
    assert not list(differences(expected, ours(one, monkeypatch, capfd, tmp_path)))


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_we_say_what_docker_compose_says_of_an_example(
    name: str,
    program: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Examples change often, so nothing is recorded: without docker compose they only have to load."""
    example = case(EXAMPLES / name)
    found = ours(example, monkeypatch, capfd, tmp_path)
    expected = found if program is None else example.here(config_cases.ask(program, example))
    assert not list(differences(expected, found))


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
