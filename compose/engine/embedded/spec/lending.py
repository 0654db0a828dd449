"""``volumes_from``: what a container takes over from the mounts of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from compose.errors import ContainerError

from .mounts import VolumeUse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compose.runtime.spec import ContainerSpec

    from .mounts import Mounts


class Lender(NamedTuple):
    """One entry; one of `service` and `container` is empty."""

    service: str
    container: str
    """Name or id."""
    read_only: bool


class Lent(NamedTuple):
    """What one container has, and how it is taken over."""

    volumes: list[VolumeUse]
    mounts: list[dict[str, Any]]
    """Bind mounts and images, as its OCI configuration has them."""
    read_only: bool


def lenders(service: Mapping[str, Any]) -> list[Lender]:
    """The entries of ``volumes_from``; raises `ContainerError` for a mode that there is not."""
    found = []
    for entry in service.get("volumes_from") or ():
        kind, _, rest = str(entry).partition(":")
        name, _, mode = rest.partition(":") if kind == "container" else (kind, "", rest)
        if mode not in ("", "ro", "rw") or not name:
            raise ContainerError(
                f"volumes_from: {entry}: there is no mode {mode or 'of nothing'}",
                hint="write SERVICE, SERVICE:ro or container:NAME:ro",
            )
        container = name if kind == "container" else ""
        found.append(Lender("" if container else name, container, mode == "ro"))
    return found


def lent(spec: ContainerSpec, *, read_only: bool) -> Lent:
    """What a container has to lend: everything but tmpfs, and files that we wrote."""
    fields = frozenset(VolumeUse._fields)
    volumes = [
        VolumeUse(**{k: v for k, v in use.items() if k in fields}) for use in spec.get("volumes") or ()
    ]
    return Lent(volumes, list(spec.get("lent") or ()), read_only)


def take_over(found: Mounts, lent: Lent) -> None:
    """Add what another container has, where nothing is mounted yet."""
    covered = found.targets()
    for use in lent.volumes:
        if use.target not in covered:
            read_only = use.read_only or lent.read_only
            found.volumes.append(use._replace(read_only=read_only, copy=False, anonymous=False, labels=None))
    for mount in lent.mounts:
        if mount["destination"] not in covered:
            options = [*mount["options"], *(["rro"] if lent.read_only else [])]
            found.oci.append({**mount, "options": options})
