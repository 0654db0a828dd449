"""The Packages index of a suite: sixty thousand paragraphs, of which a hundred are read.

A paragraph is found by its first line and parsed when it is asked for, so that an index of 50 MB costs
a tenth of a second beside its decompression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError
from compose.images.bootstrap import relations, versions
from compose.images.bootstrap.deb822 import fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from compose.images.bootstrap.relations import Group, Relation


class Package(NamedTuple):
    """What is known of a package before it is fetched."""

    name: str
    version: str
    architecture: str
    priority: str
    essential: bool
    depends: tuple[Group, ...]
    """Depends and Pre-Depends."""
    pre_depends: tuple[Group, ...]
    conflicts: tuple[Group, ...]
    """Conflicts and Breaks."""
    provides: tuple[Relation, ...]
    address: str
    size: int
    sha256: str


class Index:
    """One suite's packages; `address` is the archive that their file names are relative to."""

    def __init__(self, data: bytes, address: str) -> None:
        self._address = address
        self._paragraphs = data.split(b"\n\n")
        self._numbers: dict[bytes, list[int]] = {}
        for number, paragraph in enumerate(self._paragraphs):
            if paragraph.startswith(b"Package: "):
                name = paragraph[9 : paragraph.find(b"\n")]
                self._numbers.setdefault(name, []).append(number)
        self._providers: dict[str, list[int]] | None = None

    def named(self, name: str) -> list[Package]:
        """All versions of the package `name`."""
        return [self._parse(number) for number in self._numbers.get(name.encode(), ())]

    def base(self) -> list[Package]:
        """The packages that are essential or of the priority required."""
        return [
            self._parse(number)
            for number, paragraph in enumerate(self._paragraphs)
            if b"\nPriority: required" in paragraph or b"\nEssential: yes" in paragraph
        ]

    def provide(self, name: str) -> list[Package]:
        """The packages whose Provides names `name`."""
        if self._providers is None:
            self._providers = {}
            for number, paragraph in enumerate(self._paragraphs):
                if (start := paragraph.find(b"\nProvides: ")) >= 0:
                    line = paragraph[start + 11 :].split(b"\n", 1)[0].decode("utf-8", "replace")
                    for group in relations.parse(line):
                        self._providers.setdefault(group[0].name, []).append(number)
        return [self._parse(number) for number in self._providers.get(name, ())]

    def _parse(self, number: int) -> Package:
        text = self._paragraphs[number].decode("utf-8", "replace")
        return package(fields(text.strip("\n").split("\n")), self._address)


def package(values: dict[str, str], address: str) -> Package:
    """A package from the fields (lower case) of its paragraph; raises `ImageError` where one is missing."""
    try:
        name, file_name, size, sha256 = (values[key] for key in ("package", "filename", "size", "sha256"))
        version, architecture = values["version"], values["architecture"]
    except KeyError as error:
        what = values.get("package", "a paragraph")
        raise ImageError(f"the package index is damaged: {what} has no {error}") from error
    if ".." in file_name.split("/") or not size.isdigit() or len(sha256) != 64:
        raise ImageError(f"the package index is damaged at {name}")
    pre_depends = relations.parse(values.get("pre-depends", ""))
    return Package(
        name, version, architecture, values.get("priority", ""), values.get("essential") == "yes",
        relations.parse(values.get("depends", "")) + pre_depends, pre_depends,
        relations.parse(values.get("conflicts", "")) + relations.parse(values.get("breaks", "")),
        tuple(group[0] for group in relations.parse(values.get("provides", ""))),
        f"{address}/{file_name}", int(size), sha256.lower(),
    )  # fmt: skip


class Pool:
    """Several suites as one: of each package the newest version counts, the first index wins a draw."""

    def __init__(self, indexes: Iterable[Index]) -> None:
        self._indexes = list(indexes)
        self._known: dict[str, Package | None] = {}

    def newest(self, name: str) -> Package | None:
        """The package `name`, or None."""
        if name not in self._known:
            found = [candidate for index in self._indexes for candidate in index.named(name)]
            self._known[name] = max(found, key=lambda one: versions.key(one.version), default=None)  # type: ignore[arg-type,return-value]
        return self._known[name]

    def base(self) -> list[str]:
        """Names of the packages that are essential or required, sorted."""
        names = {candidate.name for index in self._indexes for candidate in index.base()}
        chosen = [found for name in sorted(names) if (found := self.newest(name))]
        return [one.name for one in chosen if one.essential or one.priority == "required"]

    def providers(self, name: str) -> list[Package]:
        """The packages that provide `name`, in their newest version, by name."""
        names = {candidate.name for index in self._indexes for candidate in index.provide(name)}
        chosen = [found for other in sorted(names) if (found := self.newest(other))]
        return [one for one in chosen if any(relation.name == name for relation in one.provides)]
