"""Downloads: verified, retried, redirected, cached; and the choice among mirrors."""

from __future__ import annotations

import hashlib
import lzma
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from compose.errors import ImageError
from compose.images.bootstrap import bootstrap, make
from compose.images.bootstrap.fetch import Fetcher, NotFoundError
from compose.images.bootstrap.sources import Location, Mirrors
from compose.images.bootstrap.tree import Tree
from tests.support.patience import MOMENT
from tests.unit.debian_archive import Mirror, deb_of, entry_of, index_of, new_signer, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD = b"content" * 1000
DIGEST = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serve() as found:
        found.files["/file"] = GOOD
        yield found


def fetcher(**keywords: object) -> Fetcher:
    return Fetcher(**({"environment": {}, "pause": 0.0} | keywords))  # type: ignore[arg-type]


def test_a_connection_is_used_again(mirror: Mirror) -> None:
    sizes: list[int] = []
    with fetcher(received=sizes.append) as found:
        for _ in range(5):
            assert found.get(f"{mirror.address}/file", sha256=DIGEST, size=len(GOOD)) == GOOD
    assert len(mirror.connections) == 1
    assert sum(sizes) == 5 * len(GOOD)
    assert mirror.requests[0][1]["user-agent"].startswith("pycompose/")


def test_a_wrong_digest_is_refused_after_a_second_look(mirror: Mirror) -> None:
    mirror.files["/file"] = GOOD[:-1] + b"X"
    with fetcher() as found, pytest.raises(ImageError, match="/file: its digest is not the one"):
        found.get(f"{mirror.address}/file", sha256=DIGEST, size=len(GOOD))
    assert [headers.get("cache-control") for _, headers in mirror.requests] == [None, "no-cache"]


def test_a_stale_copy_is_fetched_anew(mirror: Mirror) -> None:
    mirror.answers["/file"] = [(200, {}, b"old")]
    with fetcher() as found:
        assert found.get(f"{mirror.address}/file", sha256=DIGEST) == GOOD


def test_too_much_data_is_refused(mirror: Mirror) -> None:
    with fetcher() as found, pytest.raises(ImageError, match="more than the 10 bytes"):
        found.get(f"{mirror.address}/file", sha256=DIGEST, size=10)


def test_passing_faults_are_tried_again(mirror: Mirror) -> None:
    mirror.answers["/file"] = [(503, {}, b""), (200, {"Content-Length": "9999"}, b"cut")]
    sizes: list[int] = []
    with fetcher(received=sizes.append) as found:
        assert found.get(f"{mirror.address}/file", sha256=DIGEST) == GOOD
    assert sum(sizes) == len(GOOD)
    mirror.answers["/file"] = [(503, {}, b"")] * 3
    with fetcher() as found, pytest.raises(ImageError, match="/file: 503"):
        found.get(f"{mirror.address}/file")


def test_answers_that_will_not_change(mirror: Mirror) -> None:
    mirror.answers["/secret"] = [(403, {}, b"")]
    with fetcher() as found:
        with pytest.raises(NotFoundError, match="/none: not found"):
            found.get(f"{mirror.address}/none")
        with pytest.raises(ImageError, match="/secret: 403"):
            found.get(f"{mirror.address}/secret")
    assert len(mirror.requests) == 2


def test_redirects(mirror: Mirror) -> None:
    mirror.answers["/a"] = [(302, {"Location": "/file"}, b"moved")]
    mirror.answers["/b"] = [(301, {"Location": "file:///etc/passwd"}, b"")]
    mirror.answers["/c"] = [(301, {"Location": "/c"}, b"")] * 9
    with fetcher() as found:
        assert found.get(f"{mirror.address}/a") == GOOD
        with pytest.raises(ImageError, match="is redirected to file:///etc/passwd, which is refused"):
            found.get(f"{mirror.address}/b")
        with pytest.raises(ImageError, match="again and again"):
            found.get(f"{mirror.address}/c")


def test_a_proxy_gets_the_whole_address_and_its_password(mirror: Mirror) -> None:
    host = mirror.address.removeprefix("http://")
    mirror.files["http://archive.test/x"] = b"by proxy"
    with fetcher(options={"acquire::http::proxy": f"http://u:p@{host}"}) as found:
        assert found.get("http://archive.test/x") == b"by proxy"
    assert mirror.requests[0][1]["proxy-authorization"] == "Basic dTpw"


def test_passwords_are_sent_but_not_shown(mirror: Mirror) -> None:
    address = mirror.address.replace("http://", "http://me:secret@")
    with fetcher() as found:
        assert found.get(f"{address}/file") == GOOD
        with pytest.raises(ImageError) as caught:
            found.get(f"{address}/none")
    assert mirror.requests[0][1]["authorization"] == "Basic bWU6c2VjcmV0"
    assert "secret" not in str(caught.value)


def test_the_cache_is_used_and_not_trusted(mirror: Mirror, tmp_path: Path) -> None:
    for _ in range(2):
        with fetcher(cache=str(tmp_path)) as found:
            assert found.get(f"{mirror.address}/file", sha256=DIGEST) == GOOD
    assert len(mirror.requests) == 1
    (tmp_path / "sha256" / DIGEST).write_bytes(b"damaged")
    with fetcher(cache=str(tmp_path)) as found:
        assert found.get(f"{mirror.address}/file", sha256=DIGEST) == GOOD
    assert os.listdir(tmp_path / "sha256") == [DIGEST]
    assert (tmp_path / "sha256" / DIGEST).read_bytes() == GOOD


def test_nobody_listens(mirror: Mirror) -> None:
    with fetcher() as found, pytest.raises(ImageError, match="Connection refused") as caught:
        found.get("http://127.0.0.1:1/x")
    assert caught.value.hint


def test_many_threads_each_have_a_connection(mirror: Mirror) -> None:
    barrier = threading.Barrier(4)

    def get(_: int) -> bytes:
        barrier.wait(MOMENT)
        return found.get(f"{mirror.address}/file", sha256=DIGEST)

    with fetcher() as found, ThreadPoolExecutor(4) as pool:
        assert list(pool.map(get, range(4))) == [GOOD] * 4
    assert len(mirror.connections) == 4


RELEASE = """\
Origin: Debian
Codename: {suite}
Version: 13.1
Date: Sat, 21 Nov 2026 09:15:44 UTC
SHA256:
 {digest} {size} main/binary-amd64/Packages.xz
"""


def test_of_several_mirrors_the_first_that_has_the_release_is_used(mirror: Mirror, tmp_path: Path) -> None:
    signer = new_signer()
    ring = tmp_path / "ring"
    ring.write_bytes(signer.certificate)
    index = lzma.compress(index_of("Package: a\nVersion: 1\nPriority: required"))
    for suite, folder in (("trixie", "two"), ("trixie-security", "sec")):
        text = RELEASE.format(suite=suite, digest=hashlib.sha256(index).hexdigest(), size=len(index))
        mirror.files[f"/{folder}/dists/{suite}/InRelease"] = signer.sign(text)
        mirror.files[f"/{folder}/dists/{suite}/main/binary-amd64/Packages.xz"] = index
    places = [Location(f"{mirror.address}/{name}", (str(ring),)) for name in ("one", "two", "sec")]
    options = {"acquire::check-date": "false"}
    with fetcher() as found:
        releases = make.find_releases(found, "trixie", Mirrors(tuple(places[:2]), (places[2],)), options)
        assert [(one.suite, one.uri[-3:]) for one in releases] == [
            ("trixie", "two"),
            ("trixie-security", "sec"),
        ]
        assert make.read_indexes(found, releases, "amd64").base() == ["a"]
        with pytest.raises(ImageError, match="trixie has no packages for arm64"):
            make.read_indexes(found, releases, "arm64")
        with pytest.raises(ImageError, match="no mirror has debian bookworm"):
            make.find_releases(found, "bookworm", Mirrors(tuple(places), ()), options)
        mirror.files["/sec/dists/trixie-security/InRelease"] = new_signer().sign(RELEASE)
        with pytest.raises(ImageError, match="no good signature"):
            make.find_releases(found, "trixie", Mirrors(tuple(places[:2]), (places[2],)), options)


def test_packages_are_fetched_and_unpacked(mirror: Mirror, tmp_path: Path) -> None:
    packages = []
    for name in ("a", "b", "c"):
        control = f"Package: {name}\nVersion: 1\nArchitecture: all\n"
        content = deb_of(control, [("./bin/", None), (f"./bin/{name}", name.encode())])
        mirror.files[f"/{name}.deb"] = content
        packages.append(
            entry_of(f"Package: {name}", content)._replace(address=f"{mirror.address}/{name}.deb")
        )
    told: list[float | None] = []
    report = make.Report("debian:x", lambda what, status, fraction: told.append(fraction))
    report.expect(packages)
    (tmp_path / "root").mkdir()
    with fetcher(received=report.received) as found, Tree(str(tmp_path / "root")) as tree:
        done = make.fetch_and_unpack(found, tree, packages, "amd64")
    assert [package.name for package in done] == ["a", "b", "c"]
    assert sorted(os.listdir(tmp_path / "root/usr/bin")) == ["a", "b", "c"]
    assert told == sorted(told, key=lambda fraction: fraction or 0)
    assert told[-1] == 1.0


def test_one_bad_package_stops_all(mirror: Mirror, tmp_path: Path) -> None:
    packages = [
        entry_of(f"Package: p{n}", b"x")._replace(address=f"{mirror.address}/none") for n in range(40)
    ]
    with fetcher() as found, Tree(str(tmp_path)) as tree, pytest.raises(ImageError, match="/none: not found"):
        make.fetch_and_unpack(found, tree, packages, "amd64")
    assert [one.name for one in threading.enumerate() if one.name.startswith(("fetch", "unpack"))] == []


def test_asking_whether_an_image_is_known_is_cheap() -> None:
    import subprocess

    code = (
        "import sys; import compose.images.bootstrap as b; b.known('debian:12');"
        "heavy = {'http.client', 'ssl', 'subprocess', 'pysequoia', 'lzma', 'concurrent.futures'};"
        "print(len(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(ImageError, match="is not empty"):
        bootstrap("debian:bookworm", str(tmp_path), progress=lambda *_: None)
    with pytest.raises(ImageError, match="debian:12 in .*: No such file or directory"):
        bootstrap("docker.io/library/debian:12", str(tmp_path / "none"), progress=lambda *_: None)
    with pytest.raises(ImageError, match="redis:7 is not an image that can be made"):
        bootstrap("redis:7", str(tmp_path), progress=lambda *_: None)
    assert os.listdir(tmp_path) == ["mine"]
