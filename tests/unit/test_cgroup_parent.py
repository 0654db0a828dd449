"""Where a container's control group lies when the user names a parent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from compose.errors import ContainerError
from compose.runtime.cgroups import common, parent, systemd, versions

if TYPE_CHECKING:
    from pathlib import Path

ID = "0123456789abcdef" * 4


class Host:
    """A machine with or without systemd, and one of the versions."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.calls: list[tuple[str, str, str, list[str]]] = []
        self._patch = patch
        patch.setattr(common, "ROOT", str(root))
        patch.setattr(systemd, "enter_scope", self._enter)
        self.be(2, booted=False)

    def be(self, version: int, *, booted: bool) -> None:
        self._patch.setattr(versions, "version", lambda: version)
        self._patch.setattr(systemd, "is_running", lambda: booted)

    def _enter(self, name: str, pid: int, description: str, leaf: str, slice_: str, new: list[str]) -> None:
        self.calls.append((name, leaf, slice_, new))
        group = self.root / "a.slice" / slice_ / name / leaf
        group.mkdir(parents=True)
        (group / "cgroup.procs").touch()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_the_base_of_each_kind_of_host(host: Host) -> None:
    assert parent.base_of("/x/y/", "shop", ID) == "x/y/pycompose/shop"
    host.be(1, booted=True)
    assert parent.base_of("a-b.slice", "shop", ID) == "a.slice/a-b.slice/pycompose/shop"
    host.be(2, booted=True)
    assert parent.base_of("a-b.slice", "shop", ID) == "a.slice/a-b.slice/pycompose-0123456789ab.scope"
    assert parent.base_of("-.slice", "shop", ID) == "pycompose-0123456789ab.scope"
    assert parent.new_slices("-.slice") == []


@pytest.mark.parametrize("name", ["", "/", "..", "a/../b", "a//b"])
def test_what_is_no_path_is_refused(host: Host, name: str) -> None:
    with pytest.raises(ContainerError, match="is not the path of a group"):
        parent.refuse(name)


def test_systemd_wants_a_slice(host: Host) -> None:
    parent.refuse("m-executor")
    host.be(2, booted=True)
    with pytest.raises(ContainerError, match="m-executor is no slice") as caught:
        parent.refuse("m-executor")
    assert caught.value.hint == "write m-executor.slice"
    parent.refuse("m-executor.slice")


def test_under_systemd_the_monitor_lives_in_the_scope(host: Host) -> None:
    host.be(2, booted=True)
    parent.enter("a-b.slice", "shop", ID)
    new = ["a-b.slice", "a.slice"]
    assert host.calls == [("pycompose-0123456789ab.scope", "_keeper", "a-b.slice", new)]
    leaf = host.root / "a.slice/a-b.slice/pycompose-0123456789ab.scope/_keeper"
    assert (leaf / "cgroup.procs").read_text() == "0"
    parent.leave(parent.base_of("a-b.slice", "shop", ID))  # is systemd's
    assert leaf.exists()
    parent.enter("a-c.slice", "shop", ID[1:])
    assert host.calls[-1][-1] == ["a-c.slice"]  # the one above is there


def test_what_was_made_is_removed_and_nothing_else(host: Host) -> None:
    (host.root / "x").mkdir()
    parent.enter("x/y", "shop", ID)
    base = host.root / "x/y/pycompose/shop"
    assert base.is_dir()
    (base / ID).mkdir()
    parent.leave("x/y/pycompose/shop")  # another container of the project
    assert base.is_dir()
    (base / ID).rmdir()
    parent.leave("x/y/pycompose/shop")
    assert os.listdir(host.root / "x") == []
