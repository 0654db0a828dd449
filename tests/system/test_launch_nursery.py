"""Who is born in a container again and again: what they notice of changes, and who they are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from compose.linux import sockets
from compose.runtime import processes
from compose.runtime.container.nursery import Nursery
from tests.support.launching import Box, Running, in_monitor
from tests.support.nursing import Nursed, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def box(nothing_left: None, tmp_path: Any, busybox_root: str) -> Iterator[Box]:
    made = Box(str(tmp_path), busybox_root)
    yield made
    made.close()


def nursed(box: Box, work: Callable[[Running, Nursed], list[Any]], *args: str, **options: Any) -> Any:
    """What `work` returns that gets a container and a process that can be born in there."""

    def monitor() -> list[Any]:
        with Running(box.spec("sleep", "1000", **options)) as running:
            process = {**running.spec["oci"]["process"], "args": list(args)}
            with Nursed(running, process) as born:  # type: ignore[arg-type]
                return work(running, born)

    return in_monitor(monitor)


def root_of(running: Running) -> str:
    return f"/proc/{running.launched.pid}/root"


def test_a_change_of_the_user_database_is_seen_by_the_next_but_one(box: Box) -> None:
    def work(running: Running, born: Nursed) -> list[Any]:
        found = [born.run()[1], born.run()[1]]
        path = f"{root_of(running)}/etc/passwd"
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(text.replace("app:x:1000:", "app:x:1777:"))
        born.run()
        return [*found, born.run()[1], born.nurses]

    assert nursed(box, work, "id", "-u", user={"username": "app"}) == ["1000\n", "1000\n", "1777\n", 2]


def test_the_working_directory_is_looked_up_each_time(box: Box) -> None:
    def work(running: Running, born: Nursed) -> list[Any]:
        root = root_of(running)
        found: list[Any] = []
        for name in ("one", "two"):
            os.makedirs(f"{root}/tmp/place/{name}")
            found.append(born.run())
            os.rename(f"{root}/tmp/place", f"{root}/tmp/former-{name}")
        try:
            born.run()
        except LookupError:
            found.append("nobody")
        return [*found, born.nurses]

    found = nursed(box, work, "ls", cwd="/tmp/place")
    assert found == [[0, "one\n"], [0, "two\n"], "nobody", 1]


def test_a_program_that_is_not_there_is_told(box: Box) -> None:
    def work(running: Running, born: Nursed) -> list[Any]:
        code, output = born.run()
        assert born.nursery is not None
        return [code, output, born.nursery.failed]

    assert nursed(box, work, "/nowhere/program") == [127, "", True]


def test_nobody_is_born_in_a_container_that_has_ended(box: Box) -> None:
    def work(running: Running, born: Nursed) -> list[Any]:
        first = born.run()[0]
        running.cgroup.kill()
        running.wait()
        try:
            return ["born", born.run()]
        except (LookupError, OSError):
            return [first, "nobody"]

    assert nursed(box, work, "true") == [0, "nobody"]


def test_nobody_is_born_in_a_container_that_is_full(box: Box) -> None:
    def work(running: Running, born: Nursed) -> list[Any]:
        running.cgroup.update({"pids": {"limit": 2}})
        try:
            return ["born", born.run()]
        except LookupError:
            running.cgroup.update({"pids": {"limit": 3}})
            return [born.run(), born.nurses]

    assert nursed(box, work, "echo", "here") == [[0, "here\n"], 2]


def test_a_nurse_is_none_of_the_containers_processes(box: Box) -> None:
    def work(running: Running, born: Nursed) -> list[Any]:
        born.run()
        pid = running.launched.pid
        return [len(running.cgroup.pids()), [one.pid for one in processes.of_container(pid)] == [pid]]

    assert nursed(box, work, "true") == [2, True]


def test_a_nurse_ends_with_our_end_of_the_socket(box: Box) -> None:
    """As when a monitor is killed."""

    def work(running: Running, born: Nursed) -> list[Any]:
        born.run()
        assert born.nursery is not None
        os.close(born.nursery.fileno())
        os.open("/dev/null", os.O_RDONLY)  # in its place, for whoever closes it again
        return [wait_for(born.nursery.pidfd)]

    assert nursed(box, work, "true") == [True]


def test_nobody_who_has_taken_a_nurses_end_can_keep_us_busy() -> None:
    nursery = Nursery.__new__(Nursery)
    nursery._packets, nursery.failed = 0, False
    nursery._socket, theirs = sockets.pair()
    for _ in range(100):
        theirs.send(b"packet!!")
    heard = 0
    with pytest.raises(ConnectionError):
        while nursery.hear():
            heard += 1
    assert (heard, nursery.failed) == (3, False)
    nursery._socket.close()
    theirs.close()
