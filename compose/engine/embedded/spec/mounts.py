"""What a container sees besides its image: volumes, bind mounts, images, tmpfs, configs and secrets."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ContainerError

from . import tmpfs
from .given import GivenFile, ShownFile, given

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .given import Definitions

_PROPAGATIONS = ("rprivate", "private", "rshared", "shared", "rslave", "slave")

_REPLACEABLE = frozenset(
    f"/proc/{name}"
    for name in (
        *("cpuinfo", "diskstats", "loadavg", "meminfo", "net/dev", "slabinfo", "stat", "swaps", "uptime"),
        *("sys/crypto/fips_enabled", "sys/kernel/ns_last_pid"),
    )
)
"""What tools like lxcfs put in the place of the kernel's own; the same list as runc's."""


class VolumeUse(NamedTuple):
    """One volume at one place of a container."""

    name: str
    target: str
    read_only: bool = False
    copy: bool = True
    """Whether a new volume gets the image's content at `target`."""
    anonymous: bool = False
    subpath: str = ""
    """What of the volume is mounted; empty: all of it."""
    labels: Mapping[str, str] | None = None
    """Those of an anonymous volume."""


MAKE_SOURCE = "make it, or write `bind: {create_host_path: true}` to have a directory made"


class Source(NamedTuple):
    """A file or directory of the host that is mounted."""

    path: str
    made: bool
    """Whether it becomes a directory when it is missing; else that is an error."""
    hint: str
    """What to write where it is missing."""
    relabel: bool = False
    """Whether it gets the label of container files where the host has SELinux."""


class Mounts(NamedTuple):
    """`oci` is complete but for the volumes and given files, whose directories the caller knows.

    ``follow`` in an entry asks for a file to stay the one that its path names
    (supervision/monitor/follow.py).
    """

    oci: list[dict[str, Any]]
    volumes: list[VolumeUse]
    files: list[GivenFile]
    sources: list[Source]

    def targets(self) -> set[str]:
        """Every place that is taken."""
        places = {str(mount["destination"]) for mount in self.oci}
        return places | {use.target for use in self.volumes} | {file.target for file in self.files}


def mounts(
    service: Mapping[str, Any],
    image: Mapping[str, Any],
    definitions: Definitions,
    *,
    inherited: Mapping[str, str],
    new_name: Callable[[], str],
    borrow: Callable[[Mounts], None] | None = None,
) -> Mounts:
    """Sort out everything that is mounted; raises `ContainerError`.

    `borrow` adds what other containers lend. `definitions` holds the project's ``volumes``, ``configs`` and
    ``secrets``. Anonymous volumes take the names in `inherited` (target -> name) or a `new_name`. Of several
    that want one place ``volumes`` and ``tmpfs`` win over secrets, these over configs, and among those the
    last one, as with docker compose.
    """
    found = Mounts([], [], [], [])
    for mount in service.get("volumes") or ():
        _mount(found, mount, definitions["volumes"], inherited, new_name)
    for entry in service.get("tmpfs") or ():
        target, options = tmpfs.short(entry)
        found.oci.append(_tmpfs(clean(target), options))
    taken = found.targets()
    files = {clean(file.target): file for file in given(service, definitions)}
    for target, file in files.items():
        if target not in taken:
            _file(found, file, target)
    if borrow is not None:
        borrow(found)
    covered = found.targets()
    for target in map(clean, image.get("Volumes") or ()):
        if target not in covered:
            name = inherited.get(target) or new_name()
            found.volumes.append(VolumeUse(name, target, anonymous=True))
    return found


def clean(target: str) -> str:
    """The place of a mount in its shortest form. Refuses what Docker refuses: no absolute path, the root."""
    if not target.startswith("/"):
        raise ContainerError(
            f"mount target {target}: not an absolute path",
            hint="a name of one letter before the colon counts as a drive; use a longer one"
            if target[1:2] == ":"
            else f"write /{target}",
        )
    shortest = "/" + posixpath.normpath(target).lstrip("/")
    if shortest in ("/", "/proc"):
        raise ContainerError(f"mount target {target}: nothing can be mounted there")
    if shortest.startswith("/proc/") and shortest not in _REPLACEABLE:
        raise ContainerError(
            f"mount target {target}: inside /proc only {', '.join(sorted(_REPLACEABLE))} can be replaced",
            hint="for kernel settings write `sysctls:`",
        )
    return shortest


def _mount(
    found: Mounts,
    mount: Mapping[str, Any],
    volumes: Mapping[str, Mapping[str, Any]],
    inherited: Mapping[str, str],
    new_name: Callable[[], str],
) -> None:
    target, kind = clean(mount["target"]), mount["type"]
    if kind == "volume":
        found.volumes.append(_volume(mount, target, volumes, inherited, new_name))
    elif kind == "bind":
        _bind(found, mount, target)
    elif kind == "image":
        found.oci.append(_image(mount, target))
    elif kind == "tmpfs":
        found.oci.append(_tmpfs(target, tmpfs.long(mount)))


def _volume(
    mount: Mapping[str, Any],
    target: str,
    volumes: Mapping[str, Mapping[str, Any]],
    inherited: Mapping[str, str],
    new_name: Callable[[], str],
) -> VolumeUse:
    options, read_only = mount.get("volume") or {}, bool(mount.get("read_only"))
    subpath = _subpath(target, str(options.get("subpath") or ""))
    copy = not options.get("nocopy") and not subpath
    if source := mount.get("source"):
        return VolumeUse(volumes[source]["name"], target, read_only, copy, subpath=subpath)
    name, labels = inherited.get(target) or new_name(), options.get("labels") or None
    return VolumeUse(name, target, read_only, copy, anonymous=True, subpath=subpath, labels=labels)


def _image(mount: Mapping[str, Any], target: str) -> dict[str, Any]:
    """Layers and id are added by whoever has the store."""
    if not mount.get("source"):
        raise ContainerError(f"mount {target}: an image mount needs a source", hint="write `source: IMAGE`")
    found = {"destination": target, "type": "image", "source": mount["source"], "options": ["ro"]}
    subpath = _subpath(target, str((mount.get("image") or {}).get("subpath") or ""))
    return {**found, "subpath": subpath} if subpath else found


def _subpath(target: str, path: str) -> str:
    """A path within a volume or image; what leads out of it is refused here, links when it is mounted."""
    if path.startswith("/") or ".." in path.split("/"):
        raise ContainerError(f"mount {target}: subpath {path} leads out", hint="write a path without ..")
    return posixpath.normpath(path) if path else ""


def _bind(found: Mounts, mount: Mapping[str, Any], target: str) -> None:
    bind = mount.get("bind") or {}
    recursive, propagation = bind.get("recursive") or "enabled", bind.get("propagation") or "rprivate"
    if propagation not in _PROPAGATIONS:
        raise ContainerError(
            f"mount {target}: there is no propagation {propagation}",
            hint=f"write one of {', '.join(_PROPAGATIONS)}",
        )
    read_only = bool(mount.get("read_only"))
    if recursive == "readonly" and not read_only:
        raise ContainerError(
            f"mount {target}: bind.recursive is readonly, but the mount is not",
            hint="add `read_only: true`",
        )
    words = ["bind" if recursive == "disabled" else "rbind", propagation]
    if read_only:
        words.append("ro" if recursive in ("disabled", "writable") else "rro")
    found.oci.append({**bind_mount(mount["source"], target, words), "follow": True})
    relabel = bind.get("selinux") in ("z", "Z")
    found.sources.append(Source(mount["source"], makes_source(mount), MAKE_SOURCE, relabel))


def makes_source(mount: Mapping[str, Any]) -> bool:
    """Whether a missing source of a bind mount becomes a directory."""
    bind = mount.get("bind")
    return bind is None or bool(bind.get("create_host_path"))


def _file(found: Mounts, file: GivenFile | ShownFile, target: str) -> None:
    if isinstance(file, GivenFile):
        found.files.append(file._replace(target=target))
        return
    found.oci.append({**bind_mount(file.source, target, ["rbind", "rprivate", "rro"]), "follow": True})
    found.sources.append(Source(file.source, made=False, hint=f"make it, or change `file` of {file.key}"))


def bind_mount(source: str, target: str, options: Sequence[str], *, subpath: str = "") -> dict[str, Any]:
    """An OCI bind mount; `subpath` is resolved below `source` when it is mounted, and never out of it."""
    found = {"destination": target, "type": "bind", "source": source, "options": list(options)}
    return {**found, "subpath": subpath} if subpath else found


def _tmpfs(target: str, options: Sequence[str]) -> dict[str, Any]:
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": list(options)}
