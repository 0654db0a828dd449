"""Labels of files, on a file system that holds them; no kernel with SELinux is needed for that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from compose.linux import selinux

if TYPE_CHECKING:
    from pathlib import Path


def label(path: Path) -> bytes:
    try:
        return os.getxattr(path, "security.selinux", follow_symlinks=False)
    except OSError:
        return b""


def test_a_tree_is_labelled_and_what_links_point_to_is_not(tmp_path: Path) -> None:
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "outside").touch()
    (tmp_path / "tree/inner/file").touch()
    (tmp_path / "tree/link").symlink_to("../outside")
    selinux.relabel(str(tmp_path / "tree"))
    selinux.relabel(str(tmp_path / "tree"))
    for name in ("tree", "tree/inner", "tree/inner/file"):
        assert label(tmp_path / name) == selinux.CONTAINER_FILE
    for name in ("outside", "tree/link"):
        assert label(tmp_path / name) == b""


@pytest.mark.parametrize("path", ["/", "/etc", "/usr/", "/var/lib"])
def test_directories_of_the_system_keep_their_labels(path: str) -> None:
    assert not selinux.may_relabel(path)


def test_a_directory_of_a_user_may_be_labelled(tmp_path: Path) -> None:
    assert selinux.may_relabel(str(tmp_path))
