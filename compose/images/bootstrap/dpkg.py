"""dpkg's database for packages that we have unpacked, as dpkg would have left it before configuring them.

    /var/lib/dpkg/status              one paragraph a package, "install ok unpacked", with its conffiles
    /var/lib/dpkg/available           empty
    /var/lib/dpkg/info/format         1
    /var/lib/dpkg/info/NAME.list      its paths; NAME is name:architecture for packages "Multi-Arch: same"
    /var/lib/dpkg/info/NAME.*         the other files of its control archive
    /var/lib/dpkg/triggers/           who is interested in which trigger
    /var/lib/dpkg/updates/, parts/    empty

Configuration files are at their final place already, with their digests in the status: dpkg then finds no
``.dpkg-new`` beside them and has nothing to ask (dpkg, src/main/configure.c).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError
from compose.images.bootstrap.deb822 import fields

if TYPE_CHECKING:
    from compose.images.bootstrap.deb import Deb
    from compose.images.bootstrap.packages import Package
    from compose.images.bootstrap.tree import Contents, Tree

FOLDER = "/var/lib/dpkg"


class Unpacked(NamedTuple):
    """A package of which the files are in the tree."""

    name: str
    architecture: str
    multi_arch: str
    control: dict[str, tuple[int, bytes]]
    contents: Contents
    priority: str
    """The index's, which the archive keeps right; that in the package is what its maintainer once thought."""

    @property
    def stem(self) -> str:
        """What its files in ``info`` begin with."""
        return f"{self.name}:{self.architecture}" if self.multi_arch == "same" else self.name


def unpacked(deb: Deb, contents: Contents, package: Package) -> Unpacked:
    """Join what the index says of a package with what came out of it; `ImageError` where they differ."""
    values = fields(deb.control["control"][1].decode("utf-8", "replace").strip("\n").split("\n"))
    found = (values.get("package", ""), values.get("version", ""), values.get("architecture", ""))
    if found != (package.name, package.version, package.architecture):
        raise ImageError(f"{deb.name} says that it is {' '.join(found)}")
    multi_arch = values.get("multi-arch", "")
    return Unpacked(found[0], found[2], multi_arch, deb.control, contents, package.priority)


def write(tree: Tree, packages: list[Unpacked]) -> None:
    """Write the database of `packages` into the tree."""
    for name in ("", "/info", "/updates", "/parts", "/triggers", "/alternatives"):
        tree.directory(FOLDER + name)
    status = b"\n".join(_status(tree, package) for package in sorted(packages))
    tree.write(f"{FOLDER}/status", status)
    for name in ("available", "diversions", "statoverride"):
        tree.write(f"{FOLDER}/{name}", b"")
    tree.write(f"{FOLDER}/info/format", b"1\n")
    for package in packages:
        stem = f"{FOLDER}/info/{package.stem}"
        tree.write(f"{stem}.list", b"".join(path + b"\n" for path in package.contents.paths))
        for name, (mode, content) in package.control.items():
            if name != "control":
                tree.write(f"{stem}.{name}", content, mode)
    _write_triggers(tree, packages)


def _status(tree: Tree, package: Unpacked) -> bytes:
    lines = package.control["control"][1].strip(b"\n").split(b"\n")
    lines = [line for line in lines if not line.lower().startswith((b"priority:", b"status:"))]
    lines[1:1] = [b"Status: install ok unpacked"]
    if package.priority:
        lines[1:1] = [f"Priority: {package.priority}".encode()]
    if conffiles := _conffiles(tree, package):
        lines += [b"Conffiles:", *conffiles]
    return b"\n".join(lines) + b"\n"


def _conffiles(tree: Tree, package: Unpacked) -> list[bytes]:
    found = []
    for line in package.control.get("conffiles", (0, b""))[1].decode("utf-8", "surrogateescape").splitlines():
        path = line.strip()
        if not path.startswith("/"):  # "remove-on-upgrade PATH" is about files that are no longer shipped
            continue
        content = tree.read(path)
        if content is not None:
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            found.append(f" {path} {digest}".encode("utf-8", "surrogateescape"))
    return found


def _write_triggers(tree: Tree, packages: list[Unpacked]) -> None:
    files: list[str] = []
    named: dict[str, list[str]] = {}
    for package in packages:
        for line in package.control.get("triggers", (0, b""))[1].decode("utf-8", "replace").splitlines():
            words = line.split("#", 1)[0].split()
            if len(words) != 2 or words[0] not in ("interest", "interest-await", "interest-noawait"):
                continue
            who = package.name + ("/noawait" if words[0] == "interest-noawait" else "")
            if words[1].startswith("/"):
                files.append(f"{words[1]} {who}\n")
            elif "/" not in words[1] and not words[1].startswith("."):
                named.setdefault(words[1], []).append(f"{who}\n")
    tree.write(f"{FOLDER}/triggers/File", "".join(files).encode())
    tree.write(f"{FOLDER}/triggers/Unincorp", b"")
    for name, lines in named.items():
        tree.write(f"{FOLDER}/triggers/{name}", "".join(lines).encode())
