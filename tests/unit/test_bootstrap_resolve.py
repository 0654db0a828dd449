"""Versions, relations, the index, and which packages are chosen in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import ImageError
from compose.images.bootstrap import relations, versions
from compose.images.bootstrap.packages import Index, Package, Pool
from compose.images.bootstrap.relations import Relation
from compose.images.bootstrap.resolve import configuration_order, resolve
from tests.unit.debian_archive import entry_of, index_of


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0", "1.1"),
        ("1.9", "1.10"),
        ("1.0~rc1", "1.0"),
        ("1.0~~", "1.0~"),
        ("1.0", "1.0a"),
        ("1.0a", "1.0+b"),
        ("1.0-1", "1.0-1+deb12u1"),
        ("1.0-1+deb12u2", "1.0-1+deb12u10"),
        ("9", "1:1"),
        ("1.0", "1.0-1"),
        ("2.36-9+deb12u9~bpo", "2.36-9+deb12u9"),
    ],
)
def test_version_order(older: str, newer: str) -> None:
    assert versions.compare(older, newer) < 0
    assert versions.compare(newer, older) > 0


@pytest.mark.parametrize(
    ("left", "right"), [("1.0", "1.0"), ("0:1.0", "1.0"), ("1.00", "1.0"), ("1.0-0", "1.0-00")]
)
def test_equal_versions(left: str, right: str) -> None:
    assert versions.compare(left, right) == 0


VERSIONS = st.from_regex(r"([0-9]:)?[0-9][a-z0-9.+~]{0,5}(-[a-z0-9.+~]{1,3})?", fullmatch=True)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_an_order(one: str, two: str, three: str) -> None:
    assert versions.compare(one, two) == -versions.compare(two, one) or (
        (versions.compare(one, two) < 0) == (versions.compare(two, one) > 0)
    )
    if versions.compare(one, two) <= 0 and versions.compare(two, three) <= 0:
        assert versions.compare(one, three) <= 0


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("<<", False), ("<=", True), ("=", True), (">=", True), (">>", False), ("", True)],
)
def test_conditions(operator: str, expected: bool) -> None:
    assert versions.satisfies("1.0", operator, "1.0") is expected


def test_relations() -> None:
    assert relations.parse("libc6 (>= 2.36), perl:any | awk (<< 5~), x [amd64] <!nocheck>,") == (
        (Relation("libc6", ">=", "2.36"),),
        (Relation("perl"), Relation("awk", "<<", "5~")),
        (Relation("x"),),
    )
    assert relations.parse("") == ()


def pool(*paragraphs: str) -> Pool:
    return Pool([Index(index_of(*paragraphs), "http://127.0.0.1")])


def names(packages: list[Package]) -> list[str]:
    return [package.name for package in packages]


def test_the_newest_version_of_several_suites_counts() -> None:
    stable = Index(
        index_of("Package: a\nVersion: 1\nPriority: required", "Package: b\nVersion: 3"), "http://s"
    )
    update = Index(index_of("Package: a\nVersion: 2\nPriority: required"), "http://u")
    both = Pool([stable, update])
    found = both.newest("a")
    assert found is not None
    assert (found.version, found.address) == ("2", "http://u/pool/x.deb")
    assert both.base() == ["a"]
    assert both.newest("c") is None


def test_dependencies_are_followed_and_cycles_end() -> None:
    mirror = pool(
        "Package: a\nVersion: 1\nEssential: yes\nPre-Depends: b (>= 2)",
        "Package: b\nVersion: 2\nDepends: c",
        "Package: c\nVersion: 1\nDepends: a",
        "Package: d\nVersion: 1",
    )
    assert names(resolve(mirror, mirror.base())) == ["a", "b", "c"]


def test_a_chosen_alternative_is_kept() -> None:
    mirror = pool(
        "Package: a\nVersion: 1\nDepends: gawk | awk",
        "Package: gawk\nVersion: 1\nProvides: awk",
        "Package: mawk\nVersion: 1\nProvides: awk",
    )
    assert names(resolve(mirror, ["a", "mawk"])) == ["a", "mawk"]
    assert names(resolve(mirror, ["a"])) == ["a", "gawk"]


def test_providers_exclusions_and_versions() -> None:
    mirror = pool(
        "Package: a\nVersion: 1\nDepends: merge | is-merged, mta (>= 2), virtual (= 5)",
        "Package: merge\nVersion: 1",
        "Package: is-merged\nVersion: 1",
        "Package: mta\nVersion: 2",
        "Package: one\nVersion: 1\nProvides: virtual",
        "Package: two\nVersion: 1\nProvides: virtual (= 5)",
    )
    assert names(resolve(mirror, ["a"], frozenset({"merge"}))) == ["a", "is-merged", "mta", "two"]


@pytest.mark.parametrize(
    ("paragraphs", "message"),
    [
        (["Package: a\nVersion: 1\nDepends: b (>= 2)", "Package: b\nVersion: 1"], r"a 1 needs b >= 2, which"),
        (["Package: a\nVersion: 1\nDepends: x | y"], r"a 1 needs x \| y, which the mirror does not have"),
        (["Package: b\nVersion: 1"], "the mirror has no package a"),
        (
            ["Package: a\nVersion: 1\nDepends: b\nConflicts: b", "Package: b\nVersion: 1"],
            "a 1 does not go with b",
        ),
    ],
)
def test_what_cannot_be(paragraphs: list[str], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        resolve(pool(*paragraphs), ["a"])


def test_conflicts_with_what_one_provides_itself_are_none() -> None:
    mirror = pool(
        "Package: a\nVersion: 1\nProvides: mail\nConflicts: mail, b (<< 2)\nDepends: b",
        "Package: b\nVersion: 2",
    )
    assert names(resolve(mirror, ["a"])) == ["a", "b"]


def test_configuration_order() -> None:
    packages = [
        entry_of("Package: zlib"),
        entry_of("Package: base-files\nPre-Depends: awk"),
        entry_of("Package: mawk\nProvides: awk\nPre-Depends: libc6"),
        entry_of("Package: libc6\nDepends: libgcc"),
        entry_of("Package: libgcc\nDepends: libc6"),
        entry_of("Package: base-passwd\nDepends: libc6"),
    ]
    assert names(configuration_order(packages)) == [
        "libgcc",
        "libc6",
        "base-passwd",
        "mawk",
        "base-files",
        "zlib",
    ]


@pytest.mark.parametrize(
    "change", [("pool/x.deb", "../x.deb"), ("Size: 1\n", ""), ("Size: 1", "Size: one"), ("0" * 64, "00")]
)
def test_damaged_indexes_are_refused(change: tuple[str, str]) -> None:
    data = index_of("Package: a\nVersion: 1").replace(change[0].encode(), change[1].encode())
    with pytest.raises(ImageError, match="the package index is damaged"):
        Index(data, "http://m").named("a")
