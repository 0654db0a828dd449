"""The first content of a volume, and volumes that somebody uses meanwhile."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from compose.errors import VolumeError
from compose.state.paths import Paths
from compose.volumes import VolumeStore, local

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    return VolumeStore(Paths(str(tmp_path), str(tmp_path / "run")))


def seed(into: str) -> bool:
    os.mkdir(f"{into}/sub")
    for name in ("file", "sub/inner"):
        with open(f"{into}/{name}", "w", encoding="utf-8") as file:
            file.write("seed")
    os.chmod(into, 0o750)
    return True


def nothing(into: str) -> bool:
    return False


def content(directory: str) -> list[str]:
    return sorted(
        os.path.join(at, name)[len(directory) + 1 :] for at, _, names in os.walk(directory) for name in names
    )


def test_an_empty_volume_gets_its_first_content_once(store: VolumeStore) -> None:
    store.fill("data", seed)
    directory = store.directory("data")
    assert content(directory) == ["file", "sub/inner"]
    assert os.stat(directory).st_mode & 0o777 == 0o750
    os.unlink(f"{directory}/file")
    store.fill("data", seed)
    assert content(directory) == ["sub/inner"]
    assert os.listdir(os.path.dirname(directory)) == ["data"]


def test_an_image_without_the_directory_changes_nothing(store: VolumeStore) -> None:
    store.fill("data", nothing)
    assert os.listdir(os.path.dirname(store.directory("data"))) == ["data"]


def test_who_has_the_empty_volume_mounted_sees_the_content_of_the_next_one(store: VolumeStore) -> None:
    descriptor = os.open(store.create("data"), os.O_RDONLY)  # a mount holds the directory as this does
    try:
        store.fill("data", seed)
        assert sorted(os.listdir(descriptor)) == ["file", "sub"]
        assert os.path.samestat(os.fstat(descriptor), os.stat(store.directory("data")))
    finally:
        os.close(descriptor)


def test_content_that_was_whole_when_its_command_was_killed_is_moved_in_by_the_next_one(
    store: VolumeStore,
) -> None:
    directory = store.create("data")
    parent = os.path.dirname(directory)
    os.mkdir(f"{parent}/filled")
    seed(f"{parent}/filled")
    os.rename(f"{parent}/filled/sub", f"{directory}/sub")  # this far it had come
    store.create("data")
    assert content(directory) == ["file", "sub/inner"]
    assert os.listdir(parent) == ["data"]


def test_content_that_was_not_whole_is_copied_anew(store: VolumeStore) -> None:
    parent = os.path.dirname(store.create("data"))
    os.mkdir(f"{parent}/filling.1")
    seed(f"{parent}/filling.1")
    os.unlink(f"{parent}/filling.1/file")
    store.fill("data", seed)
    assert content(store.directory("data")) == ["file", "sub/inner"]
    assert os.listdir(parent) == ["data"]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\nb", "-rf", "x" * 201, "ä"])
def test_names_that_could_leave_the_store_are_refused(store: VolumeStore, name: str) -> None:
    for action in (store.create, store.remove, store.directory):
        with pytest.raises(VolumeError, match="is not allowed"):
            action(name)


def test_removing_what_is_not_there_is_no_error(store: VolumeStore) -> None:
    store.remove("data")
    store.fill("data", seed)
    store.remove("data")
    store.remove("data")


def test_those_who_shared_a_volume_remove_it_at_once(store: VolumeStore) -> None:
    for _ in range(20):
        directory = store.create("data")
        for number in range(50):
            os.makedirs(f"{directory}/{number}/deeper")
        with ThreadPoolExecutor(4) as pool:
            for removal in [pool.submit(store.remove, "data") for _ in range(4)]:
                removal.result()
        assert not os.path.lexists(os.path.dirname(directory))


@pytest.mark.parametrize("options", ["", "{", "[]", '{"type": 5}'])
def test_a_volume_whose_options_are_damaged_can_be_removed(store: VolumeStore, options: str) -> None:
    store.define("data", {"type": "tmpfs", "device": "tmpfs"})
    parent = os.path.dirname(store.directory("data"))
    with open(f"{parent}/options.json", "w", encoding="utf-8") as file:
        file.write(options)
    with pytest.raises(VolumeError, match="damaged"):
        store.create("data")
    store.remove("data")
    assert not os.path.exists(parent)


def test_what_is_mounted_in_a_volume_is_not_emptied(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = store.create("data")
    inside = f"{directory}/mounted here"
    os.mkdir(inside)
    line = "1 1 0:1 / {} rw - tmpfs tmpfs rw\n"
    text = line.format("/") + line.format(inside.replace(" ", "\\040")) + line.format(f"{directory}2")
    monkeypatch.setattr(
        local, "_mount_points", lambda: [local._unescaped(one.split(" ")[4]) for one in text.splitlines()]
    )
    with pytest.raises(VolumeError, match="mounted here is mounted in it"):
        store.remove("data")
    assert os.path.isdir(inside)
