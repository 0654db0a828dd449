"""Events are whole or not there, whoever writes them at once, and old ones go."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from compose.state import events
from compose.state.paths import Paths

if TYPE_CHECKING:
    from pathlib import Path

    from compose.runtime.spec import ContainerSpec


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "data"), str(tmp_path / "run"))


def spec(**changes: Any) -> ContainerSpec:
    made: Any = {"id": "1" * 64, "name": "p-web-1", "project": "p", "service": "web", "image_name": "some"}
    made.update(changes)
    return made  # type: ignore[no-any-return]


def actions(reader: events.Reader) -> list[str]:
    return [event["action"] for event in reader.read()]


def test_a_reader_goes_on_from_its_place(paths: Paths) -> None:
    events.record(paths, spec(), "create")
    everything, news = (events.Reader(paths, "p", from_now=now) for now in (False, True))
    assert (actions(everything), actions(news)) == (["create"], [])
    events.record(paths, spec(), "kill", signal=9)
    assert actions(everything) == actions(news) == ["kill"]
    assert actions(news) == []
    everything.close()
    news.close()


def test_a_reader_may_come_before_the_first_event(paths: Paths) -> None:
    reader = events.Reader(paths, "p", from_now=True)
    assert actions(reader) == []
    events.record(paths, spec(), "create")
    assert actions(reader) == ["create"]
    reader.close()


def test_a_file_that_has_grown_becomes_the_older_one(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_LARGEST", 4096)
    reader = events.Reader(paths, "p", from_now=True)
    found = []
    for number in range(100):
        events.record(paths, spec(), str(number))
        if number % 7 == 0:
            found += actions(reader)
    found += actions(reader)
    assert found == [str(number) for number in range(100)]
    assert sorted(os.listdir(paths.events)) == ["p.1.jsonl", "p.jsonl"]
    assert sum(os.path.getsize(f"{paths.events}/{name}") for name in os.listdir(paths.events)) < 3 * 4096
    reader.close()


def test_a_line_that_is_cut_off_costs_only_itself_and_the_next(paths: Paths) -> None:
    events.record(paths, spec(), "create")
    with open(events.file(paths, "p"), "ab") as file:
        file.write(b'{"time": 1, "act\n')
    events.record(paths, spec(), "start")
    reader = events.Reader(paths, "p", from_now=False)
    assert actions(reader) == ["create", "start"]
    reader.close()


def test_one_off_containers_are_no_news(paths: Paths) -> None:
    events.record(paths, spec(oneoff=True), "create")
    assert not os.path.exists(paths.events)


def test_events_of_projects_that_are_gone_go_after_a_day(paths: Paths) -> None:
    events.record(paths, spec(project="old"), "destroy")
    yesterday = time.time() - 90_000
    os.utime(events.file(paths, "old"), (yesterday, yesterday))
    events.record(paths, spec(), "create")
    assert os.listdir(paths.events) == ["p.jsonl"]


def test_events_that_cannot_be_written_stop_nobody(paths: Paths) -> None:
    os.makedirs(paths.data)
    with open(paths.events, "w", encoding="ascii"):
        events.record(paths, spec(), "create")
