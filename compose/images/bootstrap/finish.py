"""What the official images add to a plain root file system, and what they leave out.

Facts from the images themselves (their /etc/apt/apt.conf.d/docker-*, /etc/dpkg/dpkg.cfg.d), wording ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.images.bootstrap.aptconf import is_false
from compose.images.bootstrap.configure import POLICY
from compose.images.bootstrap.tree import Excludes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compose.images.bootstrap.release import Release
    from compose.images.bootstrap.tree import Tree

_CLEAN = (
    "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"
)
_SETTINGS = {
    "/etc/apt/apt.conf.d/docker-autoremove-suggests": (
        "// A package is not kept because another one suggests it: build steps remove what they needed\n"
        'Apt::AutoRemove::SuggestsImportant "false";\n'
    ),
    "/etc/apt/apt.conf.d/docker-clean": (
        "// Downloaded packages would only make a layer larger: they go as soon as they are installed\n"
        f'DPkg::Post-Invoke {{ "{_CLEAN}"; }};\n'
        f'APT::Update::Post-Invoke {{ "{_CLEAN}"; }};\n'
        'Dir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
    ),
    "/etc/apt/apt.conf.d/docker-gzip-indexes": (
        '// Package lists stay compressed on disk\nAcquire::GzipIndexes "true";\n'
    ),
    "/etc/apt/apt.conf.d/docker-no-languages": (
        '// No translated descriptions\nAcquire::Languages "none";\n'
    ),
    "/etc/dpkg/dpkg.cfg.d/docker-apt-speedup": (
        "# A container that is lost half-way is made again: no need to wait for the disk\nforce-unsafe-io\n"
    ),
}  # fmt: skip

_SLIM_EXCLUDE = tuple(
    f"/usr/share/{folder}/*"
    for folder in ("doc", "info", "linda", "lintian/overrides", "locale", "man", "omf", "help", "gnome/help")
)
_SLIM_INCLUDE = (
    "/usr/share/doc/*/copyright",
    "/usr/share/locale/locale.alias",
    # update-alternatives fails in many packages where the directory for a manual page is missing
    "/usr/share/man/man[1-9]",
)
_SLIM_FILE = "/etc/dpkg/dpkg.cfg.d/docker"

_TRACES = (
    *(
        f"/etc/{name}"
        for name in (".pwd.lock", "passwd-", "group-", "shadow-", "gshadow-", "subuid-", "subgid-")
    ),
    *(f"/var/log/{name}" for name in ("dpkg.log", "alternatives.log", "bootstrap.log")),
    *(
        f"/var/cache/{name}"
        for name in ("ldconfig/aux-cache", "debconf/config.dat-old", "debconf/templates.dat-old")
    ),
    *(f"/var/lib/dpkg/{name}-old" for name in ("status", "available", "diversions", "statoverride")),
    *(f"/var/lib/dpkg/{name}" for name in ("lock", "lock-frontend", "triggers/Lock")),
)
_ARCHIVE_KEYRING = "/usr/share/keyrings/debian-archive-keyring"
_OWN_KEYRING = "/etc/apt/keyrings/package-mirror.gpg"


def slim_excludes() -> Excludes:
    """Which paths a -slim image leaves out."""
    return Excludes(_SLIM_EXCLUDE, _SLIM_INCLUDE)


def finish(tree: Tree, releases: list[Release], options: Mapping[str, str], *, slim: bool, date: int) -> None:
    """Write the settings and sources, remove traces, set times no later than `date` (seconds)."""
    for path, text in _SETTINGS.items():
        tree.write(path, text.encode())
    if slim:
        tree.write(_SLIM_FILE, _slim_configuration().encode())
    tree.write("/usr/sbin/policy-rc.d", POLICY, 0o755)
    tree.write("/etc/fstab", b"# UNCONFIGURED FSTAB FOR BASE SYSTEM\n")
    tree.empty("/etc/machine-id")
    _write_sources(tree, releases, options)
    for path in _TRACES:
        tree.remove(path)
    for folder in ("/var/log/apt", "/var/lib/apt/lists", "/var/cache/apt/archives"):
        for name in tree.names(folder):
            if name != "partial":
                tree.remove(f"{folder}/{name}")
    tree.clamp_times(date)


def _slim_configuration() -> str:
    lines = ["# A -slim image has no documentation, no manual pages and no translations"]
    lines += [f"path-exclude {pattern}" for pattern in _SLIM_EXCLUDE]
    lines += [f"path-include {pattern}" for pattern in _SLIM_INCLUDE]
    return "\n".join(lines) + "\n"


def _write_sources(tree: Tree, releases: list[Release], options: Mapping[str, str]) -> None:
    by_address: dict[str, list[Release]] = {}
    for release in releases:
        by_address.setdefault(release.uri, []).append(release)
    paragraphs = [
        f"Types: deb\nURIs: {public(address)}\nSuites: {' '.join(release.suite for release in group)}\n"
        f"Components: main\nSigned-By: {_keyring(tree, releases)}\n"
        for address, group in by_address.items()
    ]
    tree.remove("/etc/apt/sources.list")
    tree.write("/etc/apt/sources.list.d/debian.sources", "\n".join(paragraphs).encode())
    # what the host's apt has to be told about this very mirror, the image's apt has to be told as well
    checks = ("Check-Valid-Until", "Check-Date")
    kept = [name for name in checks if is_false(options.get(f"acquire::{name.lower()}"))]
    if kept:
        text = "// As on the host that this image was made on: its mirror needs it\n"
        text += "".join(f'Acquire::{name} "false";\n' for name in kept)
        tree.write("/etc/apt/apt.conf.d/package-mirror", text.encode())


def public(address: str) -> str:
    """`address` without a user's name and password, which must not become part of an image."""
    scheme, _, rest = address.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _keyring(tree: Tree, releases: list[Release]) -> str:
    """The distribution's own key ring in the tree; a mirror with other keys brings them along."""
    from compose.images.openpgp import certificates

    for extension in ("pgp", "gpg"):
        path = f"{_ARCHIVE_KEYRING}.{extension}"
        if data := tree.read(path):
            known = {certificate.fingerprint for certificate in certificates(data, path)}
            if all(any(one.fingerprint in known for one in release.signers) for release in releases):
                return path
            break
    signers = {one.fingerprint: bytes(one) for release in releases for one in release.signers}
    tree.directory("/etc/apt/keyrings")
    tree.write(_OWN_KEYRING, b"".join(signers[name] for name in sorted(signers)))
    return _OWN_KEYRING
