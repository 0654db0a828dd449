"""Signatures and dates of releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compose.errors import ImageError
from compose.images import openpgp
from compose.images.bootstrap import release
from compose.images.bootstrap.fetch import Fetcher, NotFoundError
from compose.images.bootstrap.sources import Location
from tests.unit.debian_archive import Signer, new_signer

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_795_500_000.0  # 24 November 2026
TEXT = f"""\
Origin: Debian
Suite: stable
Version: 13.8
Codename: trixie
Date: Sat, 21 Nov 2026 09:15:44 UTC
Valid-Until: Sat, 28 Nov 2026 09:15:44 UTC
Acquire-By-Hash: yes
MD5Sum:
 {"1" * 32} 7 main/binary-amd64/Packages.xz
SHA256:
 {"a" * 64} 7 main/binary-amd64/Packages.xz
 {"b" * 64} 9 ../../../etc/passwd
"""


@pytest.fixture(scope="module")
def signer() -> Signer:
    return new_signer()


class Archive:
    """A mirror in a directory, and its key ring."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        self.file = folder / "dists/trixie/InRelease"
        self.file.parent.mkdir(parents=True)
        self.keyring = folder / "ring.gpg"
        self.keyring.write_bytes(signer.certificate)
        self.location = Location(f"file:{folder}", (str(self.keyring), "/nowhere/else.gpg"))

    def fetch(self, options: dict[str, str] | None = None, now: float = NOW) -> release.Release:
        with Fetcher(environment={}, pause=0) as fetcher:
            return release.fetch(fetcher, self.location, "trixie", options or {}, now=now)


@pytest.fixture
def archive(tmp_path: Path, signer: Signer) -> Archive:
    return Archive(tmp_path, signer)


def test_a_good_release(archive: Archive, signer: Signer) -> None:
    archive.file.write_bytes(signer.sign(TEXT))
    found = archive.fetch()
    assert (found.version, found.date, found.by_hash) == ("13.8", 1795252544, True)
    assert list(found.files) == ["main/binary-amd64/Packages.xz"]
    file = found.files["main/binary-amd64/Packages.xz"]
    assert (file.size, file.sha256) == (7, "a" * 64)
    assert found.address(file).endswith(f"/dists/trixie/main/binary-amd64/by-hash/SHA256/{'a' * 64}")
    assert [bytes(one) for one in found.signers] == [signer.certificate]


def test_a_changed_text_is_refused(archive: Archive, signer: Signer) -> None:
    archive.file.write_bytes(signer.sign(TEXT).replace(b"a" * 64, b"c" * 64))
    with pytest.raises(ImageError, match="has no good signature of a trusted key") as caught:
        archive.fetch()
    assert "\n" not in str(caught.value)


def test_another_key_is_refused(archive: Archive) -> None:
    archive.file.write_bytes(new_signer().sign(TEXT))
    with pytest.raises(ImageError, match="has no good signature of a trusted key"):
        archive.fetch()


@pytest.mark.parametrize("data", [b"", TEXT.encode(), b"\x00\x01garbage"])
def test_no_signature_is_refused(archive: Archive, data: bytes) -> None:
    archive.file.write_bytes(data)
    with pytest.raises(ImageError, match="is not signed"):
        archive.fetch()


def test_what_stands_around_the_signed_text_does_not_count(archive: Archive, signer: Signer) -> None:
    around = f"Origin: Debian\nSHA256:\n {'d' * 64} 1 main/evil\n\n".encode()
    archive.file.write_bytes(around + signer.sign(TEXT) + around)
    try:
        found = archive.fetch()
    except ImageError:
        return  # as good
    assert list(found.files) == ["main/binary-amd64/Packages.xz"]


def test_no_key_on_the_host_says_what_to_install(archive: Archive, signer: Signer) -> None:
    archive.file.write_bytes(signer.sign(TEXT))
    archive.keyring.unlink()
    with pytest.raises(ImageError, match="no key is here") as caught:
        archive.fetch()
    assert caught.value.hint is not None
    assert "debian-archive-keyring" in caught.value.hint


def test_a_damaged_key_ring_is_named(archive: Archive, signer: Signer) -> None:
    archive.file.write_bytes(signer.sign(TEXT))
    archive.keyring.write_bytes(b"not a key")
    with pytest.raises(ImageError, match=r"ring\.gpg is not an OpenPGP key ring"):
        archive.fetch()


def test_a_release_that_is_out_of_date(archive: Archive, signer: Signer) -> None:
    archive.file.write_bytes(signer.sign(TEXT))
    later = NOW + 30 * 86400
    with pytest.raises(ImageError, match="is out of date: it was valid until Sat, 28 Nov 2026") as caught:
        archive.fetch(now=later)
    assert caught.value.hint is not None
    assert "Acquire::Check-Valid-Until" in caught.value.hint
    archive.fetch({"acquire::check-valid-until": "false"}, later)
    archive.fetch({"acquire::check-date": "0"}, later)
    archive.location = archive.location._replace(check_valid_until=False)
    archive.fetch(now=later)


def test_a_release_from_the_future(archive: Archive, signer: Signer) -> None:
    archive.file.write_bytes(signer.sign(TEXT))
    with pytest.raises(ImageError, match="is in the future"):
        archive.fetch(now=NOW - 30 * 86400)
    archive.fetch({"acquire::check-valid-until": "false", "acquire::check-date": "false"}, NOW - 30 * 86400)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Origin: Debian", "Origin: Elsewhere", "is not Debian's but Elsewhere"),
        ("Codename: trixie", "Codename: bookworm", "is really bookworm"),
        ("Date: Sat, 21 Nov", "Date: some day in", "has no date that can be read"),
    ],
)
def test_something_else_with_a_good_signature(
    archive: Archive, signer: Signer, old: str, new: str, message: str
) -> None:
    archive.file.write_bytes(signer.sign(TEXT.replace(old, new)))
    with pytest.raises(ImageError, match=message):
        archive.fetch()


def test_a_missing_suite_is_told_apart(archive: Archive) -> None:
    with pytest.raises(NotFoundError):
        archive.fetch()


def test_armoured_key_rings_do_as_well(signer: Signer) -> None:
    import pysequoia

    text = pysequoia.armor(signer.certificate, pysequoia.ArmorKind.PublicKey)
    (found,) = openpgp.certificates(text.encode() if isinstance(text, str) else text, "ring.asc")
    assert bytes(found) == signer.certificate
