"""A real root file system from the host's own mirror, and the isolation that its scripts run in."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import compose
from compose.errors import ImageError
from compose.images.bootstrap import Bootstrapped, bootstrap
from compose.images.bootstrap.configure import run_in_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Territory

# The product gives maintainer scripts no network; this test wants to see apt at work.
WITH_NETWORK = """import os, sys; sys.path[:0] = [sys.argv[1]]
from compose.images.bootstrap import isolate
i = isolate
i.check(i._unshare(i._NEWNS | i._NEWPID | i._NEWIPC | i._NEWUTS), "unshare")
child = os.fork()
if not child: isolate._child(sys.argv[2], sys.argv[3])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"""


def with_network(root: str, script: str) -> str:
    library = os.path.dirname(os.path.dirname(os.path.abspath(compose.__file__)))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", WITH_NETWORK, library, root, script],
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(territory: Territory) -> Iterator[tuple[str, Bootstrapped, list[str]]]:
    """A root file system of bookworm, what `bootstrap` returned, and what it told meanwhile."""
    paths = territory.new_paths()
    root = f"{paths.data}/root"
    os.mkdir(root)
    told: list[str] = []
    try:
        found = bootstrap(
            "debian:bookworm",
            root,
            progress=lambda what, status, fraction: told.append(status),
            cache=paths.cache,
        )
        yield root, found, told
    finally:
        territory.remove(paths.data, paths.run)


def read(root: str, path: str) -> str:
    with open(root + path) as file:
        return file.read()


def test_what_is_known_of_it(nothing_left: None, made: tuple[str, Bootstrapped, list[str]]) -> None:
    root, found, told = made
    assert found.config["os"] == "linux"
    assert found.config["config"] == {
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "Cmd": ["bash"],
    }
    assert found.config["created"].endswith("Z")
    assert found.description.startswith("Debian 12.")
    assert 80 <= found.packages <= 100
    assert found.size > 80 << 20
    assert told[0] == "reading the mirror's index"
    assert told[-1] == "configuring packages"
    assert read(root, "/etc/debian_version").startswith("12.")


def test_nothing_in_it_is_newer_than_the_release(
    nothing_left: None, made: tuple[str, Bootstrapped, list[str]]
) -> None:
    from datetime import datetime

    root, found, _ = made
    newest = datetime.fromisoformat(found.config["created"]).timestamp()
    for top, folders, files in os.walk(root):
        for name in folders + files:
            assert os.lstat(os.path.join(top, name)).st_mtime <= newest, os.path.join(top, name)


def test_it_is_configured_and_whole(nothing_left: None, made: tuple[str, Bootstrapped, list[str]]) -> None:
    root, found, _ = made
    states = "dpkg-query -W -f '${db:Status-Abbrev}|${Essential}|${Package}\\n'"
    lines = run_in_root(
        root, f"{states}; dpkg --audit; dpkg --verify; apt-get check", "ask dpkg", date=0
    ).split("\n")
    installed = [line for line in lines if line.startswith("ii |")]
    assert len(installed) == found.packages
    rest = [line for line in lines if line not in installed and line]
    assert [line for line in rest if not line.startswith(("Reading", "Building"))] == []
    users = read(root, "/etc/passwd")
    assert "root:x:0:0:root:/root:/bin/bash\n" in users
    assert "_apt:x:" in users
    assert os.stat(f"{root}/tmp").st_mode & 0o7777 == 0o1777
    assert os.stat(f"{root}/usr/bin/passwd").st_mode & 0o7777 == 0o4755
    assert os.readlink(f"{root}/bin") == "usr/bin"


def test_it_has_the_settings_of_the_official_image(
    nothing_left: None, made: tuple[str, Bootstrapped, list[str]]
) -> None:
    root, _, _ = made
    sources = read(root, "/etc/apt/sources.list.d/debian.sources")
    assert "Suites: bookworm" in sources
    assert "Suites: bookworm-security\n" in sources
    assert sources.count("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n") == 2
    assert os.access(f"{root}/usr/sbin/policy-rc.d", os.X_OK)
    assert "docker-clean" in os.listdir(f"{root}/etc/apt/apt.conf.d")
    for empty in ("dev", "proc", "sys", "tmp", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial"):
        assert os.listdir(f"{root}/{empty}") == []
    for gone in (
        "etc/resolv.conf",
        "etc/hostname",
        "var/log/dpkg.log",
        "var/lib/dpkg/tmp.ci",
        "var/lib/dpkg/preinst.d",
    ):
        assert not os.path.lexists(f"{root}/{gone}")


def test_apt_installs_a_server_in_it(nothing_left: None, made: tuple[str, Bootstrapped, list[str]]) -> None:
    root, _, _ = made
    with open("/etc/resolv.conf") as host, open(f"{root}/etc/resolv.conf", "w") as file:
        file.write(host.read())
    with_network(root, "apt-get update && apt-get install -y --no-install-recommends redis-server")
    assert "v=7." in run_in_root(root, "redis-server --version", "run it", date=0)
    assert os.listdir(f"{root}/var/cache/apt/archives/partial") == []


def test_scripts_see_nothing_of_the_host(nothing_left: None, busybox_root: str) -> None:
    script = """
        echo $$; hostname; ls /; cat /proc/net/dev | wc -l; ls /dev; grep -c . /proc/self/mounts
        grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; ls /tmp; id -G; echo x > /dev/null; sync
        umask; kill -0 $PPID 2>/dev/null || echo no parent; env | cut -d= -f1 | sort | tr '\\n' ' '
    """
    lines = run_in_root(busybox_root, script, "look around", date=7).split("\n")
    assert lines[:2] == ["1", "localhost"]
    assert "work" not in lines
    assert "CapBnd:\t00000000a80425fb" in lines  # Docker's fourteen
    assert "NoNewPrivs:\t1" in lines
    assert "Seccomp:\t2" in lines
    assert "DEBIAN_FRONTEND" in lines[-1]
    assert "SOURCE_DATE_EPOCH" in lines[-1]
    assert not {"PYTHONPATH", "PYCOMPOSE_DATA_DIR"} & set(lines[-1].split())


def test_a_script_that_fails_is_told_in_one_line(nothing_left: None, busybox_root: str) -> None:
    with pytest.raises(ImageError, match=r"^configure: error: no such luck$"):
        run_in_root(busybox_root, "echo first; echo error: no such luck >&2; exit 3", "configure", date=0)
    with pytest.raises(ImageError, match=r"^configure: exit code 42$"):
        run_in_root(busybox_root, "exit 42", "configure", date=0)


def test_a_root_with_links_for_directories_is_refused(
    nothing_left: None, paths: object, tmp_path: object
) -> None:
    root = f"{tmp_path}/root"
    os.mkdir(root)
    os.symlink("/etc", f"{root}/proc")
    with pytest.raises(ImageError, match="isolate: .*Not a directory"):
        run_in_root(root, "true", "configure", date=0)
