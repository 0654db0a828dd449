"""Where things lie, and for whom."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from compose.cli import main as cli
from compose.errors import StateError
from compose.state import paths as state_paths
from compose.state.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path


def test_both_directories_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    named = {"PYCOMPOSE_DATA_DIR": f"{tmp_path}/data", "PYCOMPOSE_RUN_DIR": f"{tmp_path}/run"}
    paths = Paths.from_environment(named)
    assert (paths.data, paths.run) == (f"{tmp_path}/data", f"{tmp_path}/run")
    assert {os.stat(path).st_mode & 0o7777 for path in (paths.data, paths.run)} == {0o700}


def test_another_data_directory_has_a_run_directory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them must not share sockets, locks and pinned namespaces."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(state_paths, "DEFAULT_RUN", f"{tmp_path}/run")
    found = [Paths.from_environment({"PYCOMPOSE_DATA_DIR": f"{tmp_path}/{name}"}) for name in "aba"]
    assert found[0].run == found[2].run != found[1].run
    assert all(one.run.startswith(f"{tmp_path}/run.") for one in found)


def test_names_that_all_of_the_host_share() -> None:
    usual = Paths(state_paths.DEFAULT_DATA, state_paths.DEFAULT_RUN)
    assert usual.host_name("shop") == "shop"
    names = {usual.host_name("shop"), *(Paths("/d", run).host_name("shop") for run in ("/a", "/b"))}
    assert len(names) == 3 and all(name.partition(".")[0] == "shop" for name in names)


def test_an_ordinary_user_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(StateError, match="only root"):
        Paths.from_environment({"PYCOMPOSE_DATA_DIR": f"{tmp_path}/data", "HOME": f"{tmp_path}"})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", [["up", "-d"], ["down"], ["ps"]])
def test_commands_refuse_an_ordinary_user_in_one_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _as_an_ordinary_user(tmp_path, monkeypatch)
    assert cli.main(command) == 1
    said = capsys.readouterr().err
    assert said.startswith("pycompose: only root") and said.count("\n") == 1
    assert os.listdir(tmp_path) == ["compose.yaml"]


def test_an_ordinary_user_can_check_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _as_an_ordinary_user(tmp_path, monkeypatch)
    assert cli.main(["config", "--services"]) == 0
    assert capsys.readouterr().out == "web\n"
    assert os.listdir(tmp_path) == ["compose.yaml"]


def _as_an_ordinary_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    (home / "compose.yaml").write_text("services: {web: {image: some}}\n", encoding="utf-8")
