"""`cp` copies both ways, and nothing that a container does leads it elsewhere."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from compose.runtime.client import Keeper
from tests.support.containers import wait_for
from tests.support.patience import MOMENT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Stack

BOX = """
services:
  box:
    image: IMAGE
    command: [sleep, infinity]
    volumes: ['data:/data', './shown:/shown']
volumes: {data: {}}
"""


@pytest.fixture
def box(stack: Stack) -> Stack:
    (stack.directory / "shown").mkdir()
    stack.write(BOX)
    stack.up()
    return stack


def make_tree(directory: Path) -> None:
    """A directory ``tree`` with one of everything."""
    (directory / "tree/sub").mkdir(parents=True)
    (directory / "tree/file").write_text("one\n", encoding="utf-8")
    (directory / "tree/file").chmod(0o4750)
    os.chown(directory / "tree/file", 1234, 1235)
    (directory / "tree/file").chmod(0o4750)
    os.utime(directory / "tree/file", (1_000_000_000, 1_000_000_000))
    os.link(directory / "tree/file", directory / "tree/sub/again")
    (directory / "tree/link").symlink_to("sub")


def test_a_tree_comes_back_as_it_went(box: Stack) -> None:
    make_tree(box.directory)
    box.run("cp", "tree", "box:/tmp")
    said = box.shell("box", "cd /tmp/tree; stat -c '%a %u %g %Y %h' file; readlink link; cat sub/again")
    assert said == "4750 1234 1235 1000000000 2\nsub\none"
    box.run("cp", "box:/tmp/tree", "back")
    found = (box.directory / "back/file").stat()
    assert stat.S_IMODE(found.st_mode) == 0o750, "setuid bits of a container are not to be trusted"
    assert (found.st_uid, found.st_gid, found.st_nlink) == (0, 0, 2)
    assert os.readlink(box.directory / "back/link") == "sub"
    box.run("cp", "-a", "box:/tmp/tree/file", "exact")
    found = (box.directory / "exact").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o4750, 1234, 1235)


DESTINATIONS = [
    ("tree/file", "/tmp/a", "/tmp/a/file"),
    ("tree/file", "/tmp/b/", "/tmp/b/file"),
    ("tree/file", "tmp/other", "/tmp/other"),
    ("tree", "/tmp/new", "/tmp/new/sub/again"),
    ("tree", "/tmp/newer/", "/tmp/newer/sub/again"),
    ("tree", "/tmp/a", "/tmp/a/tree/sub/again"),
    ("tree/.", "/tmp/b", "/tmp/b/sub/again"),
    ("tree/link/", "/tmp/a/", "/tmp/a/link/again"),
    ("tree/file", "/data", "/data/file"),
    ("tree/file", "/shown/x", "/shown/x"),
    ("tree/file", "/tmp/dangling", "/tmp/to"),
]


def test_destinations_mean_what_docker_says_they_mean(box: Stack) -> None:
    make_tree(box.directory)
    box.shell("box", "mkdir /tmp/a /tmp/b; ln -s to /tmp/dangling")
    for source, target, _ in DESTINATIONS:
        box.run("cp", source, f"box:{target}")
    box.run("cp", "tree/link", "box:/tmp/b/link")
    box.run("cp", "-L", "tree/link", "box:/tmp/b/followed")
    script = "; ".join(f"test -f {there} || echo no {there}" for _, _, there in DESTINATIONS)
    assert box.shell("box", script) == ""
    assert box.shell("box", "test -L /tmp/b/link && test -f /tmp/b/followed/again && echo both") == "both"


def test_what_cannot_be_copied_is_one_clear_line(box: Stack) -> None:
    make_tree(box.directory)
    for arguments, code, said in (
        (["tree", "box:/etc/passwd"], 1, "cannot copy a directory"),
        (["tree/file", "box:/nowhere/"], 1, "no such directory"),
        (["tree/file", "box:/nowhere/x"], 1, "no such directory: /nowhere"),
        (["tree/file", "box:/etc/passwd/"], 1, "no such directory"),
        (["nothing", "box:/tmp"], 1, "no such file"),
        (["box:/nothing", "."], 1, "no such file or directory: /nothing in container"),
        (["box:/tmp", "box:/etc"], 2, "between services"),
        (["tree", "other"], 2, "SERVICE:PATH"),
        (["tree", "box:"], 2, "empty path"),
        (["--index", "3", "tree", "box:/tmp"], 1, "no container #3"),
    ):
        assert said in box.fails("cp", *arguments, code=code)


def test_a_directory_is_never_replaced_by_a_file(box: Stack) -> None:
    (box.directory / "in").mkdir()
    (box.directory / "in/kept").write_text("x", encoding="utf-8")
    box.shell("box", "mkdir -p /tmp/kept; touch /tmp/kept/precious")
    assert "is a directory there" in box.fails("cp", "in/.", "box:/tmp")
    assert box.shell("box", "ls /tmp/kept") == "precious"


def test_archives_go_in_and_out(box: Stack) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        entry = tarfile.TarInfo("new/file")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"abc"))
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "text": False}
    process: Any = box.start("cp", "-", "box:/tmp", **options)
    with process:
        _, err = process.communicate(archive.getvalue(), timeout=MOMENT)
        assert process.returncode == 0, err
    process = box.start("cp", "box:/tmp/new", "-", **options)
    with process:
        out, _ = process.communicate(timeout=MOMENT)
    with tarfile.open(fileobj=io.BytesIO(out), mode="r") as tar:
        assert tar.getnames() == ["new", "new/file"]
        content = tar.extractfile("new/file")
        assert content is not None
        assert content.read() == b"abc"
    assert "must be a directory" in box.fails("cp", "-", "box:/etc/passwd")


def test_containers_that_do_not_run_can_be_copied_from_and_to(stack: Stack) -> None:
    (stack.directory / "shown").mkdir()
    (stack.directory / "shown/theirs").write_text("bound\n", encoding="utf-8")
    stack.write(BOX)
    stack.run("create")
    make_tree(stack.directory)
    stack.run("cp", "tree/file", "box:/root-file")
    stack.run("cp", "tree/file", "box:/data/in-volume")
    stack.run("cp", "box:/shown/theirs", "copied")
    assert (stack.directory / "copied").read_text(encoding="utf-8") == "bound\n"
    stack.run("start")
    assert stack.shell("box", "cat /root-file /data/in-volume") == "one\none"


def test_every_container_of_a_service_gets_a_copy(stack: Stack) -> None:
    stack.write(BOX.replace("    volumes", "    scale: 2\n    volumes"))
    (stack.directory / "shown").mkdir()
    stack.up()
    make_tree(stack.directory)
    stack.run("cp", "tree/file", "box:/tmp/all")
    stack.run("cp", "--index", "2", "tree/file", "box:/tmp/second")
    for index, files in ((1, "all"), (2, "all\nsecond")):
        assert stack.run("exec", "-T", "--index", str(index), "box", "ls", "/tmp") == files + "\n"


SWAP = """
mkdir -p /swap/real /swap/other; echo inside > /swap/real/file; echo inside > /swap/other/file
cd /swap
while :; do
  ln -sfn TARGET link; mv -T link dir 2>/dev/null || { rm -rf dir; mv link dir; }
  rm -f dir; cp -r real dir
done
"""


def test_a_container_that_swaps_directories_leads_nowhere(box: Stack) -> None:
    """A link to a directory of the host's takes turns with a directory of the same name."""
    outside = box.directory / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret\n", encoding="utf-8")
    make_tree(box.directory)
    script = SWAP.replace("TARGET", str(outside))
    with box.start("exec", "-T", "box", "sh", "-c", script) as process:
        for number in range(5):
            box.try_run("cp", "box:/swap/dir", f"got{number}")
            box.try_run("cp", "tree/file", "box:/swap/dir/written")
            box.try_run("cp", "tree", "box:/swap/dir/tree")
        process.terminate()
    box.run("kill", "box")
    assert [path.name for path in outside.iterdir()] == ["file"]
    copied = [path for path in box.directory.glob("got*") if not path.is_symlink()]
    files = [path / "file" for path in copied if path.is_dir() and (path / "file").is_file()]
    assert "secret\n" not in [path.read_text(encoding="utf-8") for path in files]


def test_devices_that_a_container_made_are_not_opened_and_not_copied(box: Stack) -> None:
    box.shell("box", "mkdir /tmp/d; mknod /tmp/d/zero c 1 5; mkfifo /tmp/d/fifo; echo x > /tmp/d/file")
    done = box.try_run("cp", "box:/tmp/d", "d")
    assert done.code == 0 and "zero is a device and was left out" in done.err
    assert sorted(path.name for path in (box.directory / "d").iterdir()) == ["fifo", "file"]


CHANGED = """
services:
  box:
    image: IMAGE
    command: [sh, -c, 'echo $$COLOUR; exec sleep infinity']
    environment: {COLOUR: red}
    volumes: ['data:/data']
volumes: {data: {}}
"""
CHANGES = (
    "echo new > /new; ln /new /again; rm /etc/group; rm -r /home && mkdir /home; "
    "chown 12:13 /new; chmod 4755 /new; echo x > /data/volume; mknod /made c 1 3"
)


def test_export_is_the_whole_file_system_without_what_is_mounted(stack: Stack) -> None:
    stack.write(CHANGED)
    stack.up()
    stack.shell("box", CHANGES)
    stack.run("export", "-o", "out.tar", "box")
    with tarfile.open(stack.directory / "out.tar") as tar:
        names = set(tar.getnames())
        first, second = tar.getmember("again"), tar.getmember("new")
        content = tar.extractfile("new")
        assert content is not None
        assert content.read() == b"new\n"
    assert {"bin/busybox", "etc/passwd", "home", "data", "proc", ".dockerenv", "etc/mtab"} <= names
    assert not {"etc/group", "data/volume", "proc/1"} & names
    assert second.islnk() and second.linkname == "again" and first.mode == 0o4755
    assert (first.uid, first.gid) == (12, 13)
    process: Any = stack.start("export", "box", text=False)
    with process:
        out, _ = process.communicate(timeout=MOMENT)
    assert out == (stack.directory / "out.tar").read_bytes()
    assert "not running container #2" in stack.fails("export", "--index", "2", "box")


def test_a_committed_container_is_an_image_that_up_starts(stack: Stack) -> None:
    stack.write(CHANGED)
    stack.up()
    stack.shell("box", CHANGES)
    name = f"{stack.name}/made:one"
    arguments = ["-a", "Me", "-m", "why", "-c", "ENV SIZE=big", "-c", 'LABEL "a b"=c']
    said = stack.try_run("commit", *arguments, "box", name)
    assert said.code == 0 and "Committed as sha256:" in said.err
    again = CHANGED.replace("environment: {COLOUR: red}", "labels: {x: y}").replace("IMAGE", name)
    stack.write(re.sub("    command.*\n", "", again))
    stack.up()
    with stack.start("logs", "-f", "box") as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith("| red\n")
        process.terminate()
    shown = "cat /new /again; stat -c '%a %u %h' /new; ls /home; ls /etc/group; echo $SIZE; stat -c %F /made"
    assert stack.shell("box", f"({shown}) 2>&1").splitlines() == [
        *("new", "new", "4755 12 2", "ls: /etc/group: No such file or directory", "big"),
        "character special file",
    ]
    assert json.loads(stack.run("images", "--format", "json"))[0]["Tag"] == "one"
    stack.write(f"FROM {name}\nRUN test ! -e /.dockerenv -a ! -L /etc/mtab\n", "Dockerfile")
    stack.write("services: {box: {build: .}}")
    stack.run("build")


def test_a_commit_that_is_killed_leaves_nothing_paused(stack: Stack) -> None:
    stack.write(CHANGED)
    stack.up()
    identity = stack.run("ps", "-q").strip()
    with Keeper(stack.paths, stack.name).held(identity):
        assert list(stack.ps().values())[0]["State"] == "paused"
    code = f"""if True:
        from compose.runtime.client import Keeper
        from compose.state.paths import Paths
        import os
        with Keeper(Paths({stack.paths.data!r}, {stack.paths.run!r}), {stack.name!r}).held({identity!r}):
            os.kill(os.getpid(), 9)
    """
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    wait_for(stack.paths.container(identity), lambda: list(stack.ps().values())[0]["State"] == "running")


def test_a_commit_that_cannot_be_leaves_the_container_running(stack: Stack) -> None:
    stack.write(CHANGED)
    stack.up()
    assert "RUN changes more than settings" in stack.fails("commit", "-c", "RUN true", "box")
    assert "--change:1" in stack.fails("commit", "-c", "EXPOSE x", "box")
    assert "not valid" in stack.fails("commit", "box", "Not:A:Name")
    assert stack.ps()[f"{stack.name}-box-1"]["State"] == "running"
