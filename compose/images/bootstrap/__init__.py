"""Root file systems of distributions we know, made from the distribution's own packages.

    sources    where packages come from: the host's apt configuration (aptconf, deb822)
    fetch      downloads, verified and cached (proxies)
    release    the signed description of a suite
    packages   the index of a suite
    resolve    which packages, in which order (relations, versions). Pure
    deb, tree  packages unpacked below a directory descriptor
    dpkg       dpkg's database, as if dpkg had unpacked them
    configure  maintainer scripts, isolated from the host (isolate)
    finish     the settings of the official images, sources, traces removed
    make       all of it in its order

Trust: only the keys of the host decide (`sources.Location.keyrings`). InRelease is verified by signature, the
index by a digest in it, each package by a digest in the index; everything else from the network is ignored.
The age of a release is limited by Valid-Until, where the distribution gives one (Debian: security updates).
An attacker in the network who has been there for less than that can hide updates, as from apt itself; an
older release than one seen before is not detected, since no record is kept.

This module is light: `known` is asked for each image of a project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Progress = Callable[[str, str, float | None], None]
    """What is being made, what is being done, and how much of it (0 to 1) is done where that is known."""


class Target(NamedTuple):
    """What a reference asks for."""

    codename: str
    slim: bool


class Bootstrapped(NamedTuple):
    """What the image's configuration needs to know about a root file system."""

    config: dict[str, Any]
    """An OCI image configuration without `rootfs`: architecture, os, created, config, history."""
    description: str
    """For people: ``Debian 12.15 (bookworm)``."""
    packages: int
    size: int
    """Bytes of file content."""


_CODENAMES = {
    "bookworm": "bookworm", "12": "bookworm", "trixie": "trixie", "13": "trixie", "latest": "trixie",
}  # fmt: skip
_PREFIXES = ("docker.io/library/", "docker.io/", "library/")


def familiar(reference: str) -> str:
    """`reference` as people type it: without the default registry and its ``library/``."""
    for prefix in _PREFIXES:
        if reference.startswith(prefix):
            return reference[len(prefix) :]
    return reference


def target(reference: str) -> Target | None:
    """What `reference` (``debian:13-slim``) asks for, or None where it is not one of ours."""
    name, _, tag = familiar(reference).partition(":")
    if name != "debian":
        return None
    tag = tag or "latest"
    slim = tag.endswith("-slim")
    codename = _CODENAMES.get(tag.removesuffix("-slim"))
    return Target(codename, slim) if codename and tag != "latest-slim" else None


def known(reference: str) -> bool:
    """Whether `bootstrap` can make the image `reference`."""
    return target(reference) is not None


def bootstrap(
    reference: str, into: str, *, progress: Progress, cache: str | None = None, mirror: str | None = None
) -> Bootstrapped:
    """Fill the empty directory `into` with the root file system of `reference`; raises `ImageError`.

    `cache` is a directory for downloads, named by digest. `mirror` is an address (or two, divided by a space:
    archive and security updates) that replaces what the host's apt and PYCOMPOSE_DEBIAN_MIRROR say.
    The caller must be root, in the initial user namespace or in one with enough ids. What a failure leaves in
    `into` is the caller's to remove, and to sync the tree to disk before it is relied on.
    """
    from compose.images.bootstrap.make import make

    return make(reference, into, progress=progress, cache=cache, mirror=mirror)
