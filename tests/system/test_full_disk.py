"""On a disk that is full, what is there can be removed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from compose.errors import StateError
from compose.linux import mount
from compose.runtime import records
from compose.runtime.spec import VERSION
from compose.state.index import Index
from tests.support.containers import Stand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.state.paths import Paths


@pytest.fixture
def small(nothing_left: None, paths: Paths) -> Iterator[Paths]:
    """Paths whose data lie on a file system of 256 KiB."""
    mount.mount("tmpfs", paths.data, "tmpfs", 0, "size=256k")
    yield paths
    mount.umount2(paths.data, 0)


def fill(directory: str) -> str:
    """Leave no byte free on the file system of a directory; the file that takes it all."""
    path = f"{directory}/fill"
    with open(path, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    return path


def test_how_a_container_ended_is_known_although_the_disk_was_full(small: Paths, busybox_root: str) -> None:
    stand = Stand(small, busybox_root)
    identity = stand.shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    stand.until_written(identity, b"ready")
    filler = fill(small.data)
    assert stand.keeper.stop(identity)["exit_code"] == 7
    os.unlink(filler)
    assert (stand.state(identity)["status"], stand.state(identity)["exit_code"]) == ("exited", 7)
    stand.close()


def test_rows_can_be_deleted_on_a_full_disk(small: Paths) -> None:
    index = Index(small)
    with index.change() as transaction:
        transaction.execute("INSERT INTO projects VALUES ('one', '/', '[]')")
    filler = fill(small.data)
    with pytest.raises(StateError, match="full"), index.change() as transaction:
        transaction.execute("INSERT INTO projects VALUES ('two', ?, '[]')", ("x" * 100_000,))
    with index.change() as transaction:
        transaction.execute("DELETE FROM projects")
    assert index.projects() == []
    index.close()
    os.unlink(filler)


def test_a_record_that_finds_no_room_says_that_the_disk_is_full(small: Paths) -> None:
    os.makedirs(small.container("one"))
    filler = fill(small.data)
    with pytest.raises(OSError, match="No space left"):
        records.write_state(small, "one", {"version": VERSION, "status": "created"})
    assert os.listdir(small.container("one")) == []
    os.unlink(filler)
