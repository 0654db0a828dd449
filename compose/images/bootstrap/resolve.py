"""Which packages belong to a root file system, and in which order they are configured. No input, no output.

Unlike a full solver this never takes a choice back: of alternatives the first that can be had is taken,
unless another one is chosen already, as the archive's own tools for base systems do. What does not fit
together is an error, never a broken root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ImageError
from compose.images.bootstrap.versions import satisfies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from compose.images.bootstrap.packages import Package, Pool
    from compose.images.bootstrap.relations import Group, Relation


def resolve(pool: Pool, seeds: Iterable[str], exclude: frozenset[str] = frozenset()) -> list[Package]:
    """The seeds and all that they depend on, by name; raises `ImageError` for what cannot be had."""
    chosen: dict[str, Package] = {}
    waiting: list[Package] = []

    def choose(package: Package) -> None:
        if package.name not in chosen:
            chosen[package.name] = package
            waiting.append(package)

    for name in seeds:
        found = pool.newest(name)
        if found is None:
            raise ImageError(f"the mirror has no package {name}")
        choose(found)
    while waiting:
        package = waiting.pop(0)
        for group in package.depends:
            if not any(is_met(relation, chosen.values()) for relation in group):
                choose(_candidate(pool, package, group, exclude))
    _check(chosen)
    return sorted(chosen.values())


def _candidate(pool: Pool, package: Package, group: Group, exclude: frozenset[str]) -> Package:
    for relation in group:
        found = pool.newest(relation.name)
        if found and found.name not in exclude and _is(found, relation):
            return found
        for provider in pool.providers(relation.name):
            if provider.name not in exclude and _provides(provider, relation):
                return provider
    wanted = " | ".join(" ".join(part for part in relation if part) for relation in group)
    raise ImageError(f"{package.name} {package.version} needs {wanted}, which the mirror does not have")


def is_met(relation: Relation, packages: Iterable[Package]) -> bool:
    """Whether one of `packages` is, or provides, what `relation` asks for."""
    return any(
        (package.name == relation.name and _is(package, relation)) or _provides(package, relation)
        for package in packages
    )


def _is(package: Package, relation: Relation) -> bool:
    return satisfies(package.version, relation.operator, relation.version)


def _provides(package: Package, relation: Relation) -> bool:
    """Debian Policy 7.5: a provided name without a version meets no condition on a version."""
    for provided in package.provides:
        if provided.name == relation.name:
            if not relation.operator:
                return True
            if provided.operator == "=" and satisfies(provided.version, relation.operator, relation.version):
                return True
    return False


def _check(chosen: dict[str, Package]) -> None:
    for package in chosen.values():
        others = [other for other in chosen.values() if other is not package]
        for group in package.conflicts:
            if is_met(group[0], others):
                raise ImageError(f"{package.name} {package.version} does not go with {group[0].name}")


def configuration_order(packages: Iterable[Package]) -> list[Package]:
    """What others depend on first; a cycle is entered at the package with the first name.

    base-passwd and base-files lead as far as their own dependencies allow: they make the users and the
    files that everybody's scripts take for granted (without saying so, Debian Policy 3.8).
    """
    by_name = {package.name: package for package in packages}
    providers: dict[str, list[Package]] = {}
    for package in sorted(by_name.values()):
        providers.setdefault(package.name, []).append(package)
        for provided in package.provides:
            providers.setdefault(provided.name, []).append(package)
    order: list[Package] = []
    seen: set[str] = set()

    def visit(package: Package) -> None:
        if package.name in seen:
            return
        seen.add(package.name)
        for group in (*package.pre_depends, *package.depends):
            for provider in _present(group, providers):
                visit(provider)
        order.append(package)

    for name in ("base-passwd", "base-files", "dpkg", "perl-base", "debconf", *sorted(by_name)):
        if name in by_name:
            visit(by_name[name])
    return order


def _present(group: Group, providers: dict[str, list[Package]]) -> list[Package]:
    for relation in group:
        if found := providers.get(relation.name):
            return found[:1]
    return []
