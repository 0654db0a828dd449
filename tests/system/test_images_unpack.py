"""Unpacking hostile archives: nothing outside of the tree is read, made, changed or removed."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from compose.errors import ImageError
from compose.images.layers import measure
from compose.images.tar import END, Entry, Limits, header, padding
from compose.images.unpack import OPAQUE, Unpacked, unpack
from compose.linux.beneath import remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MTIME = 1_600_000_000 * 10**9


def entry(
    name: str,
    kind: int = stat.S_IFREG,
    link: str = "",
    *,
    mode: int = 0o755,
    uid: int = 0,
    device: tuple[int, int] = (0, 0),
    xattrs: dict[str, bytes] | None = None,
) -> Entry:
    return Entry(name.encode(), kind, mode, uid, uid, 0, MTIME, link.encode(), device, xattrs or {})


def directory(name: str) -> Entry:
    return entry(name, stat.S_IFDIR)


def symlink(name: str, target: str) -> Entry:
    return entry(name, stat.S_IFLNK, target)


def hardlink(name: str, target: str) -> Entry:
    return entry(name, 0, target)


def archive(*members: Entry | tuple[Entry, bytes]) -> bytes:
    parts = []
    for item in members:
        one, content = item if isinstance(item[0], Entry) else (item, b"")
        assert isinstance(one, Entry) and isinstance(content, bytes)
        parts += [header(one._replace(size=len(content))), content, padding(len(content))]
    return b"".join(parts) + END


class Place:
    """A tree to unpack into, beside things that must stay as they are."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.outside = root / "outside"
        self.inside = root / "inside"
        for path in (self.outside / "sub", self.inside):
            path.mkdir(parents=True)
        for path in (self.outside / "canary", self.outside / "sub" / "canary"):
            path.write_text("alive")
            path.chmod(0o600)
            os.utime(path, ns=(1, 1))

    def unpack(self, *members: Entry | tuple[Entry, bytes], whiteouts: bool = False) -> Unpacked:
        descriptor = os.open(self.inside, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return unpack(io.BytesIO(archive(*members)), descriptor, whiteouts=whiteouts)
        finally:
            os.close(descriptor)

    def snapshot(self) -> list[tuple[str, int, int, int, int, int]]:
        found = []
        for above, directories, files in os.walk(self.outside):
            for name in directories + files:
                path = os.path.join(above, name)
                status = os.lstat(path)
                found.append(
                    (path, status.st_mode, status.st_nlink, status.st_uid, status.st_mtime_ns, status.st_ino)
                )
        return sorted(found)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


ATTACKS: dict[str, Callable[[str], list[Entry | tuple[Entry, bytes]]]] = {
    "parent components": lambda out: [(entry("../outside/new"), b"x")],
    "parent components inside": lambda out: [directory("d"), (entry("d/../../outside/new"), b"x")],
    "an absolute name": lambda out: [(entry(f"{out}/canary"), b"x")],
    "a link as parent": lambda out: [symlink("l", out), (entry("l/canary"), b"x")],
    "a relative link as parent": lambda out: [symlink("l", "../outside"), (entry("l/canary"), b"x")],
    "a link then written through": lambda out: [symlink("l", f"{out}/canary"), (entry("l"), b"x")],
    "a link then a directory": lambda out: [symlink("l", out), directory("l"), (entry("l/canary"), b"x")],
    "a chain of links": lambda out: [
        symlink("a", "b"), symlink("b", "c"), symlink("c", ".."), (entry("a/outside/canary"), b"x"),
    ],
    "links at another depth": lambda out: [
        directory("a/b"), symlink("a/b/l", "../../.."), (entry("a/b/l/outside/canary"), b"x"),
    ],
    "a hard link to the outside": lambda out: [hardlink("h", f"{out}/canary"), (entry("h"), b"x")],
    "a hard link upwards": lambda out: [hardlink("h", "../outside/canary")],
    "a hard link through a link": lambda out: [
        symlink("l", out), hardlink("h", "l/canary"), (entry("h"), b"x"),
    ],
    "a hard link to a link": lambda out: [
        symlink("a/l", "../../outside/canary"), hardlink("x", "a/l"), (entry("x"), b"x"),
    ],
    "a directory replaced by a link": lambda out: [
        directory("d"), (entry("d/f"), b"1"), symlink("d", out), (entry("d/canary"), b"x"),
    ],
    "a whiteout through a link": lambda out: [symlink("l", out), entry("l/.wh.canary")],
    "an opaque mark through a link": lambda out: [symlink("l", out), entry("l/.wh..wh..opq")],
    "the mode of a link's target": lambda out: [symlink("l", f"{out}/canary"), entry("l", stat.S_IFDIR)],
    "a device over a link": lambda out: [
        symlink("l", f"{out}/canary"), entry("l", stat.S_IFCHR, mode=0o666, device=(1, 3)),
    ],
    "very long chains": lambda out: [
        *[symlink("/".join(["d" * 200] * n) + "/l", "../" * 200 + out) for n in range(1, 10)],
        (entry("/".join(["d" * 200] * 9) + "/l/canary"), b"x"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("whiteouts", [False, True])
@pytest.mark.parametrize("attack", ATTACKS)
def test_no_archive_gets_out(place: Place, attack: str, whiteouts: bool) -> None:
    before = place.snapshot()
    try:
        place.unpack(*ATTACKS[attack](str(place.outside)), whiteouts=whiteouts)
    except ImageError as error:
        assert "\n" not in error.message
    assert place.snapshot() == before
    assert (place.outside / "canary").read_text() == "alive"


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.."])
def test_whiteouts_of_nothing_are_refused(place: Place, name: str) -> None:
    with pytest.raises(ImageError):
        place.unpack(directory("d"), entry(name), whiteouts=True)


def test_whiteouts_become_those_of_overlayfs(place: Place) -> None:
    place.unpack(
        directory("d"), entry("d/.wh.gone"), entry("d/.wh..wh..opq"), entry(".wh..wh.plnk"), whiteouts=True
    )
    gone = (place.inside / "d" / "gone").lstat()
    assert stat.S_ISCHR(gone.st_mode)
    assert gone.st_rdev == 0
    assert os.getxattr(place.inside / "d", OPAQUE) == b"y"
    assert os.listdir(place.inside) == ["d"]


def test_a_whiteout_does_not_hide_its_own_layer(place: Place) -> None:
    place.unpack(
        (entry("f"), b"new"), entry(".wh.f"),
        directory("d"), (entry("d/x"), b"new"), entry(".wh.d"),
        entry(".wh.e"), directory("e"), (entry("e/y"), b"new"),
        entry(".wh.g"), (entry("g"), b"new"),
        symlink("l", "d"), entry(".wh.l"),
        whiteouts=True,
    )  # fmt: skip
    assert (place.inside / "f").read_text() == (place.inside / "g").read_text() == "new"
    for name, inner in (("d", "x"), ("e", "y")):
        assert (place.inside / name / inner).read_text() == "new"
        assert os.getxattr(place.inside / name, OPAQUE) == b"y"
    assert os.readlink(place.inside / "l") == "d"


def test_attributes_of_overlayfs_are_dropped_and_capabilities_kept(place: Place) -> None:
    capability = bytes.fromhex("0100000202000000000000000000000000000000")
    xattrs = {
        "trusted.overlay.redirect": b"/etc", "trusted.overlay.metacopy": b"", "trusted.overlay.opaque": b"y",
        "user.overlay.opaque": b"y", "security.capability": capability, "user.note": b"kept",
    }  # fmt: skip
    place.unpack((entry("f", xattrs=xattrs), b"x"), entry("d", stat.S_IFDIR, xattrs=xattrs), whiteouts=True)
    assert sorted(os.listxattr(place.inside / "f")) == ["security.capability", "user.note"]
    assert os.getxattr(place.inside / "f", "security.capability") == capability
    assert sorted(os.listxattr(place.inside / "d")) == ["security.capability", "user.note"]


def test_owners_modes_and_times_are_set(place: Place) -> None:
    place.unpack(
        entry("d", stat.S_IFDIR, mode=0o1777, uid=5), (entry("d/f", mode=0o4755, uid=3_000_000_000), b"x"),
        entry("p", stat.S_IFIFO, mode=0o620), entry("n", stat.S_IFCHR, mode=0o666, device=(1, 3)),
    )  # fmt: skip
    found = {name: (place.inside / name).lstat() for name in ("d", "d/f", "p", "n")}
    assert [oct(status.st_mode & 0o7777) for status in found.values()] == [
        "0o1777",
        "0o4755",
        "0o620",
        "0o666",
    ]
    assert [status.st_uid for status in found.values()] == [5, 3_000_000_000, 0, 0]
    assert {status.st_mtime_ns for status in found.values()} == {MTIME}
    assert stat.S_ISFIFO(found["p"].st_mode)
    assert found["n"].st_rdev == os.makedev(1, 3)


@pytest.mark.parametrize(
    "bad",
    [
        entry("n", stat.S_IFCHR),
        entry("n", stat.S_IFBLK, device=(1 << 13, 0)),
        entry("l", stat.S_IFLNK),
        entry("."),
        hardlink("h", "h"),
        hardlink("h", ""),
        hardlink("h", "missing"),
    ],
)
def test_what_no_archive_needs_is_refused(place: Place, bad: Entry) -> None:
    with pytest.raises(ImageError):
        place.unpack(bad)


def test_entries_replace_each_other(place: Place) -> None:
    deep = "/".join("abcdefgh" * 20)
    place.unpack(
        directory(deep), (entry("a"), b"1"),
        (entry("f"), b"1"), directory("f"), (entry("f/g"), b"2"),
        (entry("one"), b"1"), hardlink("two", "one"), (entry("one"), b"2"),
    )  # fmt: skip
    assert (place.inside / "a").read_text() == "1"
    assert (place.inside / "f" / "g").read_text() == "2"
    assert (place.inside / "one").read_text() == "2"
    assert (place.inside / "two").read_text() == "1"


def test_links_inside_are_followed_as_in_a_merged_usr(place: Place) -> None:
    descriptor = os.open(place.inside, os.O_RDONLY | os.O_DIRECTORY)
    members = archive(
        directory("usr/lib"), symlink("lib", "usr/lib"), directory("lib"), (entry("lib/x"), b"1"),
        symlink("abs", "/usr"), (entry("abs/y"), b"2"),
    )  # fmt: skip
    try:
        unpack(io.BytesIO(members), descriptor, keep_directory_links=True)
    finally:
        os.close(descriptor)
    assert (place.inside / "lib").is_symlink()
    assert (place.inside / "usr/lib/x").read_text() == "1"
    assert (place.inside / "usr/y").read_text() == "2"


def test_a_bomb_stops_at_the_limit(place: Place) -> None:
    descriptor = os.open(place.inside, os.O_RDONLY | os.O_DIRECTORY)
    data = archive((entry("zeros"), b"\0" * (1 << 20)))
    try:
        with pytest.raises(ImageError, match="limit"):
            unpack(io.BytesIO(data), descriptor, limits=Limits(total=1 << 19))
    finally:
        os.close(descriptor)


def test_the_digest_of_a_tree_is_that_of_its_archive(place: Place) -> None:
    """What `layers.write` produces is a layer for everybody: unpacked again, it has the same digest."""
    place.unpack(
        directory("d"), (entry("d/f", uid=7, xattrs={"user.a": b"1"}), b"content"), hardlink("d/h", "d/f"),
        symlink("l", "d/f"), entry("d/.wh.gone"), entry("d/.wh..wh..opq"),
        entry("n", stat.S_IFCHR, device=(1, 3)),
        whiteouts=True,
    )  # fmt: skip
    from compose.images import layers

    output = io.BytesIO()
    first = os.open(place.inside, os.O_RDONLY | os.O_DIRECTORY)
    measured = measure(first)
    assert layers.write(first, output.write) == measured.size == len(output.getvalue())
    os.close(first)
    with tarfile.open(fileobj=io.BytesIO(output.getvalue())) as file:
        assert file.getnames() == [".", "d", "d/.wh..wh..opq", "l", "n", "d/f", "d/.wh.gone", "d/h"]
    other = place.root / "again"
    other.mkdir()
    second = os.open(other, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpack(io.BytesIO(output.getvalue()), second, whiteouts=True)
        assert measure(second) == measured
    finally:
        os.close(second)


def test_a_tree_deeper_than_descriptors_is_removed(tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_text("alive")
    descriptor = os.open(tmp_path / "top", os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(1500):
        os.mkdir("d" * 100, dir_fd=descriptor)
        os.symlink(str(tmp_path / "outside"), "l", dir_fd=descriptor)
        below = os.open("d" * 100, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    parent = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        remove_tree(parent, b"top")
        remove_tree(parent, b"top")
    finally:
        os.close(parent)
    assert os.listdir(tmp_path) == ["outside"]
    assert (tmp_path / "outside" / "canary").read_text() == "alive"
