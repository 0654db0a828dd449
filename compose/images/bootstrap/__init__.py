"""Root file systems of distributions we know, made from the distribution's own packages.

    request    which references we know, and what comes back
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

from typing import TYPE_CHECKING

from compose.images.bootstrap.request import Bootstrapped, known, target

if TYPE_CHECKING:
    from compose.images.bootstrap.request import Progress

__all__ = ["Bootstrapped", "bootstrap", "known", "target"]


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
