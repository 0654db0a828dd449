"""Package files, unpacking them, and dpkg's database."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from typing import TYPE_CHECKING

import pytest

from compose.errors import ImageError
from compose.images.bootstrap import deb, dpkg
from compose.images.bootstrap.finish import slim_excludes
from compose.images.bootstrap.tree import Excludes, Tree
from tests.unit.debian_archive import ar_of, deb_of, entry_of, tar_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.debian_archive import Member

CONTROL = "Package: hello\nVersion: 2\nArchitecture: all\nPriority: extra\nDescription: greets\n more of it\n"


@pytest.mark.parametrize("compression", ["xz", "gz"])
def test_reading_a_package(compression: str) -> None:
    content = deb_of(CONTROL, [("./a", b"text")], extra={"postinst": b"#!/bin/sh\n"}, compression=compression)
    found = deb.read(content, "hello.deb")
    assert found.control["control"][1].decode() == CONTROL
    assert found.control["postinst"] == (0o755, b"#!/bin/sh\n")
    assert found.compression == compression
    assert deb.data_archive(found) == tar_of([("./a", b"text")])


@pytest.mark.parametrize("keep", [0, 7, 30, 100, 200, -1, -40])
def test_a_truncated_package_is_refused(keep: int) -> None:
    content = deb_of(CONTROL, [("./a", os.urandom(5000))])
    with pytest.raises(ImageError, match=r"^hello\.deb "):
        deb.data_archive(deb.read(content[:keep], "hello.deb"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04" + b"\0" * 80, "is not a Debian package"),
        (ar_of([("debian-binary", b"3.0\n")]), "of format 2"),
        (ar_of([("debian-binary", b"2.0\n"), ("data.tar", b"")]), "is not whole"),
        (ar_of([("debian-binary", b"2.0\n"), ("control.tar.xz", b"rubbish")]), "is damaged"),
        (ar_of([("debian-binary", b"2.0\n"), ("control.tar.lz9", b"rubbish")]), "compressed with lz9"),
        (ar_of([("debian-binary", b"2.0\n"), ("control.tar", tar_of([("../x", b"")]))]), "control archive"),
        (
            ar_of([("debian-binary", b"2.0\n"), ("control.tar", tar_of([("./x", "/etc/passwd")]))]),
            "control archive",
        ),
        (b"!<arch>\n" + b"x" * 60, "a bad header"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        deb.read(content, "hello.deb")


def test_a_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb, "_DATA_LIMIT", 10_000)
    found = deb.read(deb_of(CONTROL, [("./a", b"\0" * 20_000)]), "hello.deb")
    with pytest.raises(ImageError, match="too large"):
        deb.data_archive(found)


class Hosted:
    """A tree, and beside it something of the host that must stay as it is."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.outside = folder / "outside"
        self.outside.mkdir()
        (self.outside / "canary").write_text("alive")

    def unpack(self, files: list[Member], excludes: Excludes | None = None) -> list[bytes]:
        with Tree(str(self.root), excludes) as tree:
            contents = tree.unpack(tar_of(files))
            tree.finish([contents.directories])
        return contents.paths

    def intact(self) -> bool:
        return (
            sorted(os.listdir(self.outside)) == ["canary"]
            and (self.outside / "canary").read_text() == "alive"
        )


@pytest.fixture
def hosted(tmp_path: Path) -> Hosted:
    return Hosted(tmp_path)


def test_files_arrive_as_they_are(hosted: Hosted) -> None:
    paths = hosted.unpack([("./", None), ("./usr/", None), ("./usr/a", b"one"), ("./usr/b", "a")])
    assert paths == [b"/.", b"/usr", b"/usr/a", b"/usr/b"]
    status = os.stat(hosted.root / "usr/a")
    assert (stat.S_IMODE(status.st_mode), status.st_mtime, status.st_uid) == (
        0o644,
        1_600_000_000,
        os.getuid(),
    )
    assert os.readlink(hosted.root / "usr/b") == "a"


def test_a_merged_usr_is_followed(hosted: Hosted) -> None:
    (hosted.root / "usr/bin").mkdir(parents=True)
    (hosted.root / "bin").symlink_to("usr/bin")
    assert hosted.unpack([("./bin/", None), ("./bin/sh", b"shell")]) == [b"/bin", b"/bin/sh"]
    assert (hosted.root / "usr/bin/sh").read_bytes() == b"shell"
    assert (hosted.root / "bin").is_symlink()


def test_a_name_cannot_leave_the_tree(hosted: Hosted) -> None:
    with pytest.raises(ImageError, match="leaves it"):
        hosted.unpack([("./../outside/new", b"x")])
    hosted.unpack([("//rooted", b"x")])
    assert (hosted.root / "rooted").exists()
    assert hosted.intact()


@pytest.mark.parametrize("link", ["absolute", "../outside", "../../../../../../"])
def test_a_link_cannot_lead_out_of_the_tree(hosted: Hosted, link: str) -> None:
    link = str(hosted.outside) if link == "absolute" else link
    with contextlib.suppress(ImageError):
        hosted.unpack(
            [("./way", link), ("./way/canary", b"dead"), ("./way/new/", None), ("./way/new/x", b"x")]
        )
    assert hosted.intact()
    with Tree(str(hosted.root)) as tree:
        with contextlib.suppress(ImageError):
            tree.write("/way/canary", b"dead")
        with contextlib.suppress(ImageError):
            tree.directory("/way/new2")
        tree.remove("/way/canary")
        tree.empty("/way/canary")
    assert hosted.intact()


def test_a_file_in_the_place_of_a_directory_is_refused(hosted: Hosted) -> None:
    with pytest.raises(ImageError, match="/usr: Not a directory"):
        hosted.unpack([("./usr", b"a file"), ("./usr/", None)])


def test_the_first_package_owns_a_directory(hosted: Hosted) -> None:
    with Tree(str(hosted.root)) as tree:
        contents = tree.unpack(tar_of([("./tmp/", None)]))
        owner = (os.getuid(), os.getgid())
        tree.finish([{b"tmp": (0o1777, *owner)}, contents.directories])
        tree.clamp_times(1_500_000_000)
    status = os.stat(hosted.root / "tmp")
    assert stat.S_IMODE(status.st_mode) == 0o1777
    assert status.st_mtime == 1_500_000_000


def test_a_slim_tree_has_no_documentation(hosted: Hosted) -> None:
    share = "./usr/share"
    files: list[Member] = [("./usr/", None), (f"{share}/", None)]
    files += [(f"{share}/{name}/", None) for name in ("doc", "doc/a", "man", "man/man1", "man/de", "locale")]
    names = ["doc/a/copyright", "doc/a/changelog.gz", "man/man1/a.1.gz", "man/de/x", "locale/locale.alias"]
    paths = hosted.unpack([*files, *((f"{share}/{name}", b"x") for name in names)], slim_excludes())
    assert b"/usr/share/doc/a/changelog.gz" in paths  # dpkg lists what it left out, too
    found = {str(path.relative_to(hosted.root / "usr/share")) for path in hosted.root.glob("usr/share/**/*")}
    assert found == {"doc", "doc/a", "doc/a/copyright", "man", "man/man1", "locale", "locale/locale.alias"}


ENTRY = "Package: hello\nVersion: 2\nPriority: optional"


def unpacked(tree: Tree, content: bytes, text: str = ENTRY) -> dpkg.Unpacked:
    parts = deb.read(content, "hello.deb")
    return dpkg.unpacked(parts, tree.unpack(deb.data_archive(parts)), entry_of(text))


def test_the_database(hosted: Hosted) -> None:
    files: list[Member] = [("./", None), ("./etc/", None), ("./etc/hello", b"setting"), ("./var/", None)]
    files += [("./var/lib/", None)]
    extra = {
        "conffiles": b"/etc/hello\nremove-on-upgrade /etc/gone\n",
        "triggers": b"# for\ninterest-noawait /usr/share/x\ninterest ldconfig\nactivate y\n",
        "md5sums": b"",
    }
    control = CONTROL.replace("Version", "Multi-Arch: same\nVersion")
    with Tree(str(hosted.root)) as tree:
        dpkg.write(tree, [unpacked(tree, deb_of(control, files, extra=extra))])
    folder = hosted.root / "var/lib/dpkg"
    text = (folder / "status").read_text()
    assert text.startswith(
        "Package: hello\nPriority: optional\nStatus: install ok unpacked\nMulti-Arch: same\n"
    )
    assert text.endswith(f"Conffiles:\n /etc/hello {md5(b'setting')}\n")
    assert (folder / "info/hello:all.list").read_text() == "/.\n/etc\n/etc/hello\n/var\n/var/lib\n"
    assert sorted(os.listdir(folder / "info")) == [
        "format", "hello:all.conffiles", "hello:all.list", "hello:all.md5sums", "hello:all.triggers",
    ]  # fmt: skip
    assert (folder / "triggers/File").read_text() == "/usr/share/x hello/noawait\n"
    assert (folder / "triggers/ldconfig").read_text() == "hello\n"


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_a_package_that_is_not_what_the_index_says_is_refused(hosted: Hosted) -> None:
    with (
        Tree(str(hosted.root)) as tree,
        pytest.raises(ImageError, match=r"hello\.deb says that it is hello 2 all"),
    ):
        unpacked(tree, deb_of(CONTROL, []), "Package: hello\nVersion: 3")
