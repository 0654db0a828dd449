"""The index: threads, damage, a full disk, odd paths."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from compose.errors import StateError
from compose.state.index import Index, as_text
from compose.state.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path), str(tmp_path / "run"))


@pytest.fixture
def index(paths: Paths) -> Iterator[Index]:
    made = Index(paths)
    yield made
    made.close()


def add(index: Index, name: str) -> None:
    with index.change() as transaction:
        transaction.execute("INSERT INTO projects VALUES (?, '/', '[]')", (name,))


def test_threads_take_turns(index: Index) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                add(index, f"p{number}-{turn}")
                assert index.project(f"p{number}-{turn}") is not None
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(index.projects()) == 80


def test_a_failed_change_leaves_nothing(index: Index) -> None:
    with pytest.raises(KeyError), index.change() as transaction:
        transaction.execute("INSERT INTO projects VALUES ('half', '/', '[]')")
        raise KeyError
    assert index.projects() == []


def test_only_a_damaged_index_is_to_be_moved_away(paths: Paths, index: Index) -> None:
    add(index, "one")
    with pytest.raises(StateError, match="UNIQUE") as caught:
        add(index, "one")
    assert caught.value.hint is None
    with open(paths.index, "r+b") as file:
        file.write(b"no database, but something else altogether")
    with pytest.raises(StateError, match="not a database") as caught:
        Index(paths)
    assert caught.value.hint is not None and caught.value.hint.startswith("mv ")


def test_a_full_disk_is_no_damage(index: Index) -> None:
    index._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StateError, match="full") as caught:
        with index.change() as transaction:
            for number in range(1000):
                transaction.execute("INSERT INTO projects VALUES (?, ?, '[]')", (f"p{number}", "x" * 1000))
    assert caught.value.hint is None
    assert index.projects() == []


def test_an_index_of_another_version_is_left_alone(paths: Paths, index: Index) -> None:
    index.close()
    with sqlite3.connect(paths.index) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StateError, match="layout 99"):
        Index(paths)


def test_a_path_that_is_no_text_can_be_written_down(index: Index) -> None:
    odd = b"/srv/\xff\xfe".decode("utf-8", "surrogateescape")
    with index.change() as transaction:
        transaction.execute("INSERT INTO projects VALUES ('odd', ?, '[]')", (as_text(odd),))
    assert index.projects()[0].directory == "/srv/\\udcff\\udcfe"
