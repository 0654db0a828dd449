"""The size of a container's own files, on ext4 and xfs, with project quotas where the kernel has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from compose.engine.embedded import quota
from compose.linux import quota as calls

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ID = "0123456789abcdef" * 4
WANTED = {"storage_opt": {"size": "1m"}}
WRITER = """
import os, sys
os.setuid(1000)
file = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, dir_fd=int(sys.argv[1]))
with open(file, "wb") as file:
    file.write(bytes(int(sys.argv[3])))
"""


FILE_SYSTEMS = [kind for kind in ("ext4", "xfs") if shutil.which(f"mkfs.{kind}")]


@pytest.fixture(params=FILE_SYSTEMS)
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, bool]]:
    """The directory of a container on a small disk, and whether that keeps quotas."""
    image, place = tmp_path / "disk", tmp_path / "mounted"
    place.mkdir()
    with open(image, "wb") as file:
        file.truncate((32 if request.param == "ext4" else 304) << 20)
    quotas = ("-O", "quota,project", "-E", "quotatype=prjquota")
    _make(image, request.param, *(quotas if request.param == "ext4" else ()))
    kept = _mount(image, place, "loop,prjquota")
    if not kept:
        _make(image, request.param)
        assert _mount(image, place, "loop")
    try:
        for name in ("upper", "work"):
            (place / name).mkdir()
            (place / name).chmod(0o777)
        yield str(place), kept
    finally:
        subprocess.run(["umount", place], check=True)


def _make(image: Path, kind: str, *options: str) -> None:
    force = {"ext4": "-F", "xfs": "-f"}[kind]
    subprocess.run([f"mkfs.{kind}", "-q", force, *options, image], check=True, capture_output=True)


def _mount(image: Path, place: Path, options: str) -> bool:
    return subprocess.run(["mount", "-o", options, image, place], capture_output=True).returncode == 0


def write(directory: str, name: str, size: int) -> bool:
    """Whether an ordinary user can write a file of some bytes."""
    place = os.open(directory, os.O_RDONLY)
    try:
        command = ["python3", "-c", WRITER, str(place), name, str(size)]
        return subprocess.run(command, pass_fds=(place,), capture_output=True).returncode == 0
    finally:
        os.close(place)


def test_a_container_cannot_write_more_than_it_may(disk: tuple[str, bool]) -> None:
    directory, kept = disk
    said: list[str] = []
    quota.limit(WANTED, directory, ID, said.append)
    assert write(f"{directory}/upper", "small", 400_000)
    assert write(f"{directory}/upper", "large", 4_000_000) == (not kept)
    if not kept:
        assert said[0].startswith("storage_opt.size: not kept: the file system of pycompose's data has no")
        quota.release(directory)
        return
    assert said == []
    os.rename(f"{directory}/upper/small", f"{directory}/work/small")  # as the overlay does
    descriptor = os.open(f"{directory}/upper", os.O_RDONLY)
    try:
        project = calls.project_of(descriptor)
        assert calls.use_of(descriptor, project).limit == 1 << 20
        assert calls.use_of(descriptor, project).used >= 400_000
        quota.release(directory)
        assert calls.use_of(descriptor, project).limit == 0
    finally:
        os.close(descriptor)
    assert write(f"{directory}/upper", "large", 4_000_000)


def test_two_containers_have_projects_of_their_own(disk: tuple[str, bool]) -> None:
    directory, kept = disk
    projects = set()
    for number in range(2):
        for name in ("upper", "work"):
            os.makedirs(f"{directory}/{number}/{name}")
        quota.limit(WANTED, f"{directory}/{number}", ID, lambda _text: None)
        descriptor = os.open(f"{directory}/{number}/upper", os.O_RDONLY)
        projects.add(calls.project_of(descriptor))
        os.close(descriptor)
    assert len(projects) == (2 if kept else 1)


def test_a_number_that_nobody_has_used_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """xfs has no record of it."""

    def refuse(*_arguments: object) -> None:
        raise FileNotFoundError(2, "quotactl")

    monkeypatch.setattr(calls, "_quotactl", refuse)
    use = calls.use_of(-1, 5)
    assert (use.limit, use.used) == (0, 0)


def test_without_a_size_nothing_is_done(tmp_path: Path) -> None:
    quota.limit({}, str(tmp_path / "no-such"), ID, pytest.fail)
    quota.release(str(tmp_path / "no-such"))
