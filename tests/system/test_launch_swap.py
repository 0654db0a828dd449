"""One mounted file takes the place of another while the container runs."""

from __future__ import annotations

import os
import select
from types import SimpleNamespace
from typing import Any

import pytest

from compose.linux import mount as m
from compose.runtime.container import oci
from compose.runtime.container.mounts import swap
from compose.runtime.loop import Loop
from compose.runtime.supervision.monitor import follow
from compose.runtime.supervision.monitor.follow import Follower
from tests.support.launching import Box, Running, in_monitor
from tests.support.patience import MOMENT
from tests.system.test_launch_hostile import trap, watch_everything

SCRIPT = "while :; do cat /etc/deep/file; usleep 1000; done"


@pytest.fixture
def box(own_box: Box) -> Box:
    return own_box


def save(box: Box, text: str) -> int:
    """Save as most programs do, by a rename; a detached mount of the file that is there now."""
    path = f"{box.directory}/file"
    with open(f"{path}.new", "w") as file:
        file.write(f"{text}\n")
    os.rename(f"{path}.new", path)
    tree = m.open_tree(m.AT_FDCWD, path, m.OPEN_TREE_CLONE)
    m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, propagation=m.MS_PRIVATE)
    return tree


@pytest.mark.parametrize("old_kernel", [False, True], ids=["beneath", "after"])
def test_readers_find_one_file_or_the_other_and_nothing_is_loaded_inside(
    box: Box, monkeypatch: pytest.MonkeyPatch, old_kernel: bool
) -> None:
    trap(box.root)
    monkeypatch.setattr(swap, "ON_JOINED", watch_everything)

    def work() -> list[Any]:
        spec = box.spec("sh", "-c", SCRIPT)
        spec["oci"]["mounts"].append(oci.bind("/unused", "/etc/deep/file"))
        tree, floor = save(box, "zero"), swap.floor() if old_kernel else -1
        chain = [floor, tree] if old_kernel else [tree]
        with Running(spec, {len(spec["oci"]["mounts"]) - 1: chain}) as running:
            seen = [running.line()]
            for text in ("one", "two", "three"):
                following = save(box, text)
                assert swap.swap(running.launched.pidfd, [tree], following, floor)
                tree = following
                while seen[-1] != text:
                    seen.append(running.line())
            count = running.exec("grep", "-c", "/etc/deep/file", "/proc/self/mountinfo").output
            lost = not old_kernel and swap.swap(
                running.launched.pidfd, [save(box, "other")], save(box, "new")
            )
            return [list(dict.fromkeys(seen)), count, lost]

    seen, count, lost = in_monitor(work)
    assert seen == ["zero", "one", "two", "three"]
    assert count == ("2\n" if old_kernel else "1\n")
    assert not lost


def test_a_file_that_is_removed_in_the_middle_of_it_does_no_harm(box: Box) -> None:
    def work() -> str:
        spec = box.spec("sleep", "1000")
        spec["oci"]["mounts"].append(oci.bind("/unused", "/etc/deep/file"))
        tree = save(box, "zero")
        with Running(spec, {len(spec["oci"]["mounts"]) - 1: [tree]}) as running:
            for number in range(100):
                following = save(box, str(number))
                if number % 2:
                    os.unlink(f"{box.directory}/file")
                if swap.swap(running.launched.pidfd, [tree], following):
                    tree = following
            assert swap.swap(running.launched.pidfd, [tree], save(box, "last"))
            return running.exec("cat", "/etc/deep/file").output

    assert in_monitor(work) == "last\n"


class Held:
    """The keeper's part of a link: it holds what it is given."""

    def __init__(self) -> None:
        self.held: dict[str, list[int]] = {}

    def own(self, name: str) -> list[int]:
        return self.held.get(name, [])

    def own_names(self, prefix: str) -> list[str]:
        return [name for name in self.held if name.startswith(prefix)]

    def put_own(self, named: dict[str, list[int]]) -> None:
        self.held.update(named)

    def release(self, *names: str) -> None:
        for name in names:
            for number in self.held.pop(name, []):
                os.close(number)


@pytest.mark.parametrize("old_kernel", [False, True], ids=["beneath", "after"])
def test_a_follower_and_its_successor(box: Box, monkeypatch: pytest.MonkeyPatch, old_kernel: bool) -> None:
    monkeypatch.setattr(swap, "has_beneath", lambda: not old_kernel)

    def work() -> list[str]:
        spec = box.spec("sleep", "1000")
        mounts = spec["oci"]["mounts"]
        mounts.append({**oci.bind(f"{box.directory}/file", "/etc/deep/file", readonly=True), "follow": True})
        os.close(save(box, "zero"))
        link: Any = Held()
        follower = Follower(Loop(), link)
        seen = []
        with Running(spec, follower.open(mounts)) as running:
            for number in range(3):
                os.close(save(box, f"before {number}"))
                follower.begin(running.launched.pidfd)
                seen.append(running.exec("cat", "/etc/deep/file").output.strip())
                os.close(save(box, f"after {number}"))
                assert follower._inotify is not None
                select.select([follower._inotify.descriptor], [], [], MOMENT)
                follower._changed()
                seen.append(running.exec("cat", "/etc/deep/file").output.strip())
                paths = follower.paths()
                assert len(link.held) == 1 + old_kernel
                follower = Follower(Loop(), link)  # the former one has been killed
                follower.resume(mounts, paths)
            seen.append(running.exec("grep", "-c", "/etc/deep/file", "/proc/self/mountinfo").output.strip())
            follower.end()
        return [*seen, *link.held]

    texts = [f"{word} {number}" for number in range(3) for word in ("before", "after")]
    assert in_monitor(work) == [*texts, str(1 + old_kernel)]


@pytest.mark.parametrize(
    ("release", "known"),
    [
        ("6.5.0", True),
        ("6.18.2-cloud", True),
        ("7.0-rc1", True),
        ("6.1.0-13-amd64", False),
        ("6.1-rc2", False),
    ],
)
def test_which_kernels_put_mounts_beneath(monkeypatch: pytest.MonkeyPatch, release: str, known: bool) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    assert swap.has_beneath() is known


def test_a_host_where_nothing_can_be_watched(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(24, "too many")

    monkeypatch.setattr(follow, "Inotify", refuse)

    def work() -> list[str]:
        mounts = [{**oci.bind(f"{box.directory}/file", "/file"), "follow": True}]
        os.close(save(box, "zero"))
        link: Any = Held()
        follower = Follower(Loop(), link)
        follower.open(mounts)
        warnings = follower.begin(-1)
        follower.end()
        return [*warnings, *link.held]

    (warning,) = in_monitor(work)
    assert warning.startswith("mounted files are not followed: inotify: Too many open files")


def test_a_container_that_has_ended_has_no_files(box: Box) -> None:
    def work() -> bool:
        spec = box.spec("true")
        with Running(spec) as running:
            running.wait()
            return swap.swap(running.launched.pidfd, [save(box, "old")], save(box, "new"))

    assert in_monitor(work) is False
