"""Where packages come from: apt's sources, options and proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compose.errors import ImageError
from compose.images.bootstrap import aptconf, known, proxies, sources, target

if TYPE_CHECKING:
    from pathlib import Path

DEB822 = """\
# the archive
Types: deb deb-src
URIs: http://mirror.test/debian/ http://other.test/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
Check-Valid-Until: no

Enabled: no
Types: deb
URIs: http://disabled.test/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.test/debian
Suites: bookworm
Components: main
"""

KEY = """\
Types: deb
URIs: https://mirror.test/debian
Suites: trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY
 -----END PGP PUBLIC KEY BLOCK-----
"""


def host(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("reference", "codename", "slim"),
    [
        ("debian:bookworm", "bookworm", False),
        ("debian:12", "bookworm", False),
        ("docker.io/library/debian:13-slim", "trixie", True),
        ("library/debian:trixie", "trixie", False),
        ("debian", "trixie", False),
    ],
)
def test_references_that_can_be_made(reference: str, codename: str, slim: bool) -> None:
    assert target(reference) == (codename, slim)
    assert known(reference)


@pytest.mark.parametrize(
    "reference", ["debian:buster", "redis:7", "me/debian:12", "debian:12@sha256:00", "debian:-slim"]
)
def test_references_that_cannot(reference: str) -> None:
    assert not known(reference)


def test_deb822_sources() -> None:
    found = list(sources.parse_sources(DEB822))
    assert [entry.uri for entry in found] == [
        "http://mirror.test/debian",
        "http://other.test/debian",
        "http://mirror.test/debian-security",
    ]
    assert found[0].suites == ("bookworm", "bookworm-updates")
    assert found[0].signed_by == ("/usr/share/keyrings/archive.gpg",)
    assert [entry.check_valid_until for entry in found] == [True, True, False]


def test_a_key_inside_a_source() -> None:
    (entry,) = sources.parse_sources(KEY)
    lines = entry.embedded_key.split("\n")
    assert (lines[0], lines[1], lines[2]) == ("-----BEGIN PGP PUBLIC KEY BLOCK-----", "", "mDMEY")
    assert entry.signed_by == ()


def test_one_line_sources() -> None:
    text = """
        # deb http://no.test/debian bookworm main
        deb [ arch=amd64 signed-by=/k/a.gpg,/k/b.gpg ] http://mirror.test/debian/ bookworm main contrib # note
        deb-src http://mirror.test/debian bookworm main
        deb cdrom:[Debian]/ bookworm main
        deb http://mirror.test/debian bookworm-updates main
    """
    first, *rest = sources.parse_list(text)
    assert first == sources.Entry(
        "http://mirror.test/debian", ("bookworm",), ("main", "contrib"), ("/k/a.gpg", "/k/b.gpg"), "", True
    )
    assert [entry.suites for entry in rest if entry.uri.startswith("http")] == [("bookworm-updates",)]


def test_a_host_of_another_release_has_the_mirror_too(tmp_path: Path) -> None:
    root = host(tmp_path, {"etc/apt/sources.list.d/debian.sources": DEB822})
    found = sources.choose("trixie", sources.load(root), environment={}, root=root)
    assert [place.uri for place in found.archive] == ["http://mirror.test/debian", "http://other.test/debian"]
    assert found.archive[0].keyrings == (f"{root}/usr/share/keyrings/archive.gpg",)
    assert found.security[0].uri == "http://mirror.test/debian-security"
    assert not found.security[0].check_valid_until


def test_entries_for_the_release_come_first_and_other_vendors_not_at_all(tmp_path: Path) -> None:
    text = (
        "deb http://new.test/debian trixie main\ndeb http://old.test/debian bookworm main\n"
        "deb http://vendor.test/apt bookworm stable\ndeb http://tools.test nodistro main\n"
    )
    root = host(tmp_path, {"etc/apt/sources.list": text})
    found = sources.choose("bookworm", sources.load(root), environment={}, root=root)
    assert [place.uri for place in found.archive] == ["http://old.test/debian", "http://new.test/debian"]
    assert [place.uri for place in found.security] == [
        "http://old.test/debian-security",
        "http://new.test/debian-security",
    ]


def test_mirror_lists_are_followed(tmp_path: Path) -> None:
    root = host(
        tmp_path,
        {
            "etc/apt/sources.list.d/cloud.sources": "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\n"
            "Suites: trixie\nComponents: main\n",
            "etc/apt/mirrors/debian.list": "# ours\nhttps://near.test/debian/\tpriority:1\nhttps://far.test/debian\n",
        },
    )
    assert [entry.uri for entry in sources.load(root)] == [
        "https://near.test/debian",
        "https://far.test/debian",
    ]


def test_the_environment_and_the_caller_win(tmp_path: Path) -> None:
    root = host(tmp_path, {"usr/share/keyrings/debian-archive-keyring.gpg": ""})
    env = {"PYCOMPOSE_DEBIAN_MIRROR": "http://a.test/debian http://b.test/updates/"}
    found = sources.choose("trixie", [], environment=env, root=root)
    assert [place.uri for place in found.archive + found.security] == [
        "http://a.test/debian",
        "http://b.test/updates",
    ]
    assert found.archive[0].keyrings == (f"{root}/usr/share/keyrings/debian-archive-keyring.gpg",)
    found = sources.choose("trixie", [], given="file:/srv/debian", environment=env, root=root)
    assert [place.uri for place in found.archive] == ["file:/srv/debian"]
    assert [place.uri for place in found.security] == ["file:/srv/debian-security"]


def test_no_mirror_at_all_says_what_to_type() -> None:
    with pytest.raises(ImageError, match="this host's apt names none") as caught:
        sources.choose("trixie", [], environment={})
    assert caught.value.hint is not None
    assert "PYCOMPOSE_DEBIAN_MIRROR=" in caught.value.hint


def test_apt_options(tmp_path: Path) -> None:
    root = host(
        tmp_path,
        {
            "etc/apt/apt.conf.d/10a": 'Acquire::Check-Valid-Until "false"; // a\n# "x";\nA::List:: "one";',
            "etc/apt/apt.conf.d/20b": 'Acquire { /* all */ http { Proxy "http://p:1/"; '
            'Proxy::in.test "DIRECT"; };\n Retries 3; List { "one"; }; };',
            "etc/apt/apt.conf.d/30c.disabled": 'Acquire::http::Proxy "http://never";',
            "etc/apt/apt.conf": 'acquire::retries "5";\nUnfinished { "',
        },
    )
    assert aptconf.load(root, {}) == {
        "acquire::check-valid-until": "false",
        "acquire::http::proxy": "http://p:1/",
        "acquire::http::proxy::in.test": "DIRECT",
        "acquire::retries": "5",
    }


def test_options_can_be_cleared() -> None:
    found: dict[str, str] = {}
    aptconf.parse('A::B "1"; A::B::C "2"; A::D "3";\n#clear A::B;', found)
    assert found == {"a::d": "3"}


def test_proxies() -> None:
    options = {
        "acquire::http::proxy": "http://u:p%40@apt.test:8000",
        "acquire::http::proxy::near.test": "DIRECT",
    }
    assert proxies.proxy_for("http", "near.test", options, {}) is None
    assert proxies.proxy_for("http", "far.test", options, {}) == ("apt.test", 8000, "Basic dTpwQA==")
    env = {"http_proxy": "env.test:3129", "https_proxy": "http://env.test", "no_proxy": "localhost, .in.test"}
    assert proxies.proxy_for("http", "far.test", {}, env) == ("env.test", 3129, "")
    assert proxies.proxy_for("https", "far.test", {}, env) == ("env.test", 3128, "")
    assert proxies.proxy_for("http", "a.in.test", {}, env) is None
    assert proxies.proxy_for("http", "far.test", {}, {"HTTP_PROXY": "http://evil.test"}) is None
    with pytest.raises(ImageError, match="socks5h://env.test is of a kind that is not supported"):
        proxies.proxy_for("http", "far.test", {}, {"all_proxy": "socks5h://user:secret@env.test"})
