"""A suite's InRelease: signed, for the suite that was asked for, and not too old.

Checked as apt does (apt-secure(8)): the signature; Origin; Codename; Date not in the future; Valid-Until not
passed. The latter two are not looked at where the host's apt is told so (``Acquire::Check-Valid-Until`` or
``Acquire::Check-Date`` false, or Check-Valid-Until in the source's entry), which mirrors that are snapshots
need. Only SHA256 digests are used.
"""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError
from compose.images.bootstrap.aptconf import is_false
from compose.images.bootstrap.deb822 import paragraphs
from compose.images.openpgp import certificates, verify_clear_signed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pysequoia import Cert

    from compose.images.bootstrap.fetch import Fetcher
    from compose.images.bootstrap.sources import Location

_CLOCK_SKEW = 24 * 3600.0


class File(NamedTuple):
    """A file that a release names."""

    path: str
    size: int
    sha256: str


class Release(NamedTuple):
    """The verified description of one suite at one address."""

    uri: str
    suite: str
    """The directory below dists/ that it came from."""
    version: str
    date: int
    """Seconds since the epoch."""
    by_hash: bool
    files: dict[str, File]
    signers: tuple[Cert, ...]
    """Certificates whose signature is good."""

    def address(self, file: File) -> str:
        """Where `file` is; by digest where the mirror offers it: no update in between can spoil that."""
        path = file.path
        if self.by_hash:
            path = f"{path.rpartition('/')[0]}/by-hash/SHA256/{file.sha256}"
        return f"{self.uri}/dists/{self.suite}/{path}"


def fetch(
    fetcher: Fetcher, location: Location, suite: str, options: Mapping[str, str], *, now: float | None = None
) -> Release:
    """Fetch and check the InRelease of `suite`; raises `ImageError` (`NotFoundError` where there is none)."""
    uri = f"{location.uri}/dists/{suite}/InRelease"
    data = fetcher.get(uri)
    trusted = keys(location)
    name = f"{suite} of {location.uri.rpartition('@')[2]}"
    verified = verify_clear_signed(data, trusted, f"the release file of {name}")
    signers = tuple(certificate for certificate in trusted if certificate.fingerprint in verified.signers)
    check_dates = not is_false(options.get("acquire::check-date"))
    check_until = check_dates and location.check_valid_until
    check_until = check_until and not is_false(options.get("acquire::check-valid-until"))
    text = verified.content.decode("utf-8", "replace")
    check(text, name, suite, check_dates, check_until, time.time() if now is None else now)
    return parse(text, location.uri, suite, signers)


def keys(location: Location) -> list[Cert]:
    """The certificates that may sign what comes from `location`; raises `ImageError` where there is none."""
    found: dict[str, Cert] = {}
    rings = [(location.embedded_key.encode(), "Signed-By")] if location.embedded_key else []
    for path in location.keyrings:
        try:
            with open(path, "rb") as file:
                rings.append((file.read(), path))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ImageError(f"read {path}: {error.strerror}") from error
    for data, name in rings:
        for certificate in certificates(data, name):
            found[certificate.fingerprint] = certificate
    if not found:
        raise ImageError(
            "no key is here to verify Debian's packages with",
            hint="apt-get install debian-archive-keyring, or PYCOMPOSE_DEBIAN_KEYRING=FILE",
        )
    return list(found.values())


def parse(text: str, uri: str, suite: str, signers: tuple[Cert, ...] = ()) -> Release:
    """The content of a release file; `text` must be what the signature covers and nothing else."""
    fields = next(paragraphs(text), {})
    files = {}
    for line in fields.get("sha256", "").splitlines():
        words = line.split()
        if len(words) == 3 and len(words[0]) == 64 and words[1].isdigit() and ".." not in words[2]:
            files[words[2]] = File(words[2], int(words[1]), words[0].lower())
    return Release(
        uri, suite, fields.get("version", ""), int(_time(fields.get("date", ""), suite)),
        fields.get("acquire-by-hash", "").lower() == "yes", files, signers,
    )  # fmt: skip


def check(text: str, name: str, suite: str, check_date: bool, check_until: bool, now: float) -> None:
    """Refuse what is not Debian's `suite`, comes from the future, or is out of date; raises `ImageError`."""
    fields = next(paragraphs(text), {})
    if fields.get("origin") != "Debian":
        raise ImageError(f"{name} is not Debian's but {fields.get('origin', 'of unknown origin')}")
    if suite not in (fields.get("codename"), fields.get("suite")):
        raise ImageError(f"{name} is really {fields.get('codename', 'something without a name')}")
    if check_date and _time(fields.get("date", ""), name) > now + _CLOCK_SKEW:
        raise ImageError(
            f"{name} is of {fields['date']}, which is in the future", hint="is the clock right?  date"
        )
    until = fields.get("valid-until")
    if until and check_until and _time(until, name) < now:
        raise ImageError(
            f"{name} is out of date: it was valid until {until}",
            hint="is the clock right?  A mirror that is a snapshot needs "
            'Acquire::Check-Valid-Until "false"; in /etc/apt/apt.conf.d',
        )


def _time(text: str, name: str) -> float:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError) as error:
        raise ImageError(f"{name} has no date that can be read: {text[:60]!r}") from error
