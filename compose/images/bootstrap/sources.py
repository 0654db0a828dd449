"""Where packages come from: the host's own apt sources, so that no mirror is named anywhere in our code.

Both formats of sources.list(5) are read. Entries for another release of the same distribution do as well:
the mirror of a bookworm host has trixie. In order, until one works: the address given by the caller,
``PYCOMPOSE_DEBIAN_MIRROR`` ("ADDRESS [SECURITY-ADDRESS]"), the entries that name the release asked for, the
entries that name another one. What an address really is, its signed InRelease says.

Keys: an entry's Signed-By, else what apt trusts everywhere (trusted.gpg, trusted.gpg.d) and the key rings of
the distribution in /usr/share/keyrings; for an address that was given, the latter, or
``PYCOMPOSE_DEBIAN_KEYRING``.
``trusted=yes`` is not honoured: nothing unsigned is ever installed.
"""

from __future__ import annotations

import glob
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError
from compose.images.bootstrap import aptconf
from compose.images.bootstrap.deb822 import paragraphs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RELEASES = frozenset(
    "bullseye bookworm trixie forky duke sid stable oldstable oldoldstable testing unstable".split()
)
_SCHEMES = ("http", "https", "file", "copy")
_OPTION = re.compile(r"([^\s=\]]+)=([^\s\]]*)")


class Entry(NamedTuple):
    """One address of one source in the host's configuration."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: tuple[str, ...]
    """Paths of key rings; empty: what apt trusts everywhere."""
    embedded_key: str
    check_valid_until: bool


class Location(NamedTuple):
    """One address to try, without a slash at its end, and who may sign what comes from it."""

    uri: str
    keyrings: tuple[str, ...]
    embedded_key: str = ""
    check_valid_until: bool = True


class Mirrors(NamedTuple):
    """Addresses to try, best first."""

    archive: tuple[Location, ...]
    security: tuple[Location, ...]


def load(root: str = "/") -> list[Entry]:
    """All binary package sources of the host whose root directory is `root`, in apt's order."""
    folder = os.path.join(root, "etc/apt")
    found: list[Entry] = []
    for path in [f"{folder}/sources.list", *sorted(glob.glob(f"{folder}/sources.list.d/*"))]:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:  # not there; or not for us, and then not for apt
            continue
        if path.endswith(".list"):
            found += parse_list(text)
        elif path.endswith(".sources"):
            found += parse_sources(text)
    return [expanded for entry in found for expanded in _expand(entry, root)]


def parse_list(text: str) -> Iterator[Entry]:
    """One-line style: ``deb [signed-by=/path arch=amd64] URI SUITE COMPONENT...``."""
    for line in text.splitlines():
        line = line.split("#", 1)[0].strip()
        match = re.fullmatch(r"deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)", line)
        if not match:
            continue
        options = {name.lower(): value for name, value in _OPTION.findall(match[1] or "")}
        signed_by = tuple(part for part in options.get("signed-by", "").split(",") if part)
        yield Entry(
            match[2].rstrip("/"), (match[3],), tuple(match[4].split()), signed_by, "",
            not aptconf.is_false(options.get("check-valid-until")),
        )  # fmt: skip


def parse_sources(text: str) -> Iterator[Entry]:
    """deb822 style; Signed-By may hold a whole key."""
    for fields in paragraphs(text):
        if "deb" not in fields.get("types", "").split() or aptconf.is_false(fields.get("enabled")):
            continue
        signed_by = fields.get("signed-by", "").strip()
        key = ""
        if signed_by.startswith("-----BEGIN"):
            key = "\n".join("" if line.strip() == "." else line.strip() for line in signed_by.splitlines())
            signed_by = ""
        for uri in fields.get("uris", "").split():
            yield Entry(
                uri.rstrip("/"), tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()), tuple(signed_by.replace(",", " ").split()), key,
                not aptconf.is_false(fields.get("check-valid-until")),
            )  # fmt: skip


def _expand(entry: Entry, root: str) -> list[Entry]:
    """Follow ``mirror+file:``, apt-transport-mirror(1), which Debian's own cloud images use."""
    if not entry.uri.startswith("mirror+file:"):
        return [entry]
    path = "/" + entry.uri.removeprefix("mirror+file:").lstrip("/")
    try:
        with open(os.path.join(root, path.lstrip("/")), encoding="utf-8", errors="replace") as file:
            lines = [line.split("#", 1)[0].split() for line in file.read().splitlines()]
    except OSError:
        return []
    return [entry._replace(uri=words[0].rstrip("/")) for words in lines if words]


def choose(
    codename: str,
    entries: list[Entry],
    *,
    given: str | None = None,
    environment: Mapping[str, str] | None = None,
    root: str = "/",
) -> Mirrors:
    """The addresses for the release `codename`; raises `ImageError` when there is none to try."""
    env = os.environ if environment is None else environment
    addresses = (given or env.get("PYCOMPOSE_DEBIAN_MIRROR", "")).split()
    if addresses:
        keyrings = _distribution_keyrings(root, env)
        archive = Location(addresses[0].rstrip("/"), keyrings)
        security = Location(addresses[1].rstrip("/"), keyrings) if len(addresses) > 1 else _sibling(archive)
        return Mirrors((archive,), (security,) if security else ())
    usable = [entry for entry in entries if "main" in entry.components and _scheme(entry.uri) in _SCHEMES]
    archive_entries = sorted(
        (entry for entry in usable if RELEASES & set(entry.suites)),
        key=lambda entry: codename not in entry.suites,
    )
    security_entries = [entry for entry in usable if any(_is_security(suite) for suite in entry.suites)]
    archives = _unique([_location(entry, root, env) for entry in archive_entries])
    if not archives:
        raise ImageError(
            f"debian {codename} has to be made from a package mirror, and this host's apt names none",
            hint="PYCOMPOSE_DEBIAN_MIRROR=ADDRESS pycompose ...  (the address that apt would use, "
            "with /debian at its end)",
        )
    securities = [_location(entry, root, env) for entry in security_entries]
    securities += [sibling for sibling in map(_sibling, archives) if sibling]
    return Mirrors(tuple(archives), tuple(_unique(securities)))


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].lower()


def _is_security(suite: str) -> bool:
    return suite.endswith(("-security", "/updates"))


def _location(entry: Entry, root: str, env: Mapping[str, str]) -> Location:
    keyrings = tuple(os.path.join(root, path.lstrip("/")) for path in entry.signed_by if path.startswith("/"))
    if not keyrings and not entry.embedded_key:
        keyrings = _apt_keyrings(root) + _distribution_keyrings(root, env)
    return Location(entry.uri, keyrings, entry.embedded_key, entry.check_valid_until)


def _sibling(archive: Location) -> Location | None:
    """Where mirrors have the security updates of the archive ``.../debian``."""
    if archive.uri.endswith("/debian"):
        return archive._replace(uri=archive.uri + "-security")
    return None


def _unique(locations: list[Location]) -> list[Location]:
    return list({location.uri: location for location in reversed(locations)}.values())[::-1]


def _apt_keyrings(root: str) -> tuple[str, ...]:
    folder = os.path.join(root, "etc/apt")
    found = [f"{folder}/trusted.gpg", *sorted(glob.glob(f"{folder}/trusted.gpg.d/*.[ag][sp][cg]"))]
    return tuple(path for path in found if os.path.isfile(path))


def _distribution_keyrings(root: str, env: Mapping[str, str]) -> tuple[str, ...]:
    if given := env.get("PYCOMPOSE_DEBIAN_KEYRING"):
        return (given,)
    for extension in ("pgp", "gpg"):
        path = os.path.join(root, f"usr/share/keyrings/debian-archive-keyring.{extension}")
        if os.path.isfile(path):
            return (path,)
    return tuple(sorted(glob.glob(os.path.join(root, "etc/apt/trusted.gpg.d/debian-archive-*"))))
