"""What a bootstrap is asked for, and what comes of it."""

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
