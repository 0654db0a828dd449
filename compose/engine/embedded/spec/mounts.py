"""What a container sees besides its image: volumes, bind mounts, tmpfs, configs and secrets."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ContainerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_TMPFS = ("nosuid", "nodev", "noexec")


class VolumeUse(NamedTuple):
    """One volume at one place of a container."""

    name: str
    target: str
    read_only: bool = False
    copy: bool = True
    """Whether a new volume gets the image's content at `target`."""
    anonymous: bool = False


class GivenFile(NamedTuple):
    """A config or secret whose content we write ourselves."""

    target: str
    content: str
    uid: int
    gid: int
    mode: int


class Mounts(NamedTuple):
    """`oci` is complete but for the volumes and given files, whose directories the caller knows."""

    oci: list[dict[str, Any]]
    volumes: list[VolumeUse]
    files: list[GivenFile]
    host_paths: list[str]
    """Bind sources that are made as directories when they are missing."""


def mounts(
    service: Mapping[str, Any],
    image: Mapping[str, Any],
    definitions: Mapping[str, Mapping[str, Mapping[str, Any]]],
    *,
    inherited: Mapping[str, str],
    new_name: Callable[[], str],
) -> Mounts:
    """Sort out everything that is mounted.

    `definitions` holds the project's ``volumes``, ``configs`` and ``secrets``. Anonymous volumes take the
    names in `inherited` (target -> name) or a `new_name`.
    """
    found = Mounts([], [], [], [])
    for mount in service.get("volumes") or ():
        _mount(found, mount, definitions["volumes"], inherited, new_name)
    for entry in service.get("tmpfs") or ():
        target, _, options = entry.partition(":")
        found.oci.append(_tmpfs(clean(target), options.split(",") if options else []))
    for kind in ("configs", "secrets"):
        for use in service.get(kind) or ():
            _given(found, use, definitions[kind][use["source"]], kind)
    covered = {mount["destination"] for mount in found.oci} | {use.target for use in found.volumes}
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
    return shortest


def _mount(
    found: Mounts,
    mount: Mapping[str, Any],
    volumes: Mapping[str, Mapping[str, Any]],
    inherited: Mapping[str, str],
    new_name: Callable[[], str],
) -> None:
    target, read_only = clean(mount["target"]), bool(mount.get("read_only"))
    if mount["type"] == "volume":
        copy = not (mount.get("volume") or {}).get("nocopy")
        if source := mount.get("source"):
            found.volumes.append(VolumeUse(volumes[source]["name"], target, read_only, copy))
        else:
            name = inherited.get(target) or new_name()
            found.volumes.append(VolumeUse(name, target, read_only, copy, anonymous=True))
    elif mount["type"] == "bind":
        bind = mount.get("bind") or {}
        options = ["rbind", bind.get("propagation") or "rprivate", *(["ro"] if read_only else [])]
        found.oci.append(bind_mount(mount["source"], target, options))
        if bind.get("create_host_path"):
            found.host_paths.append(mount["source"])
    elif mount["type"] == "tmpfs":
        tmpfs = mount.get("tmpfs") or {}
        options = [f"size={tmpfs['size']}"] if tmpfs.get("size") else []
        if tmpfs.get("mode"):
            options.append(f"mode={int(tmpfs['mode']):o}")
        found.oci.append(_tmpfs(target, [*options, *(["ro"] if read_only else [])]))


def bind_mount(source: str, target: str, options: Sequence[str]) -> dict[str, Any]:
    """An OCI bind mount."""
    return {"destination": target, "type": "bind", "source": source, "options": list(options)}


def _tmpfs(target: str, options: Sequence[str]) -> dict[str, Any]:
    undone = {"exec": "noexec", "suid": "nosuid", "dev": "nodev"}
    cleared = {undone[option] for option in options if option in undone}
    defaults = [option for option in _TMPFS if option not in cleared]
    return {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": [*defaults, *options]}


def _given(found: Mounts, use: Mapping[str, Any], definition: Mapping[str, Any], kind: str) -> None:
    """A config or secret: its file as it lies there, or a file of ours with its content.

    Docker compose ignores uid, gid and mode of a file source; so do we, until the content can be mapped.
    """
    default = f"/run/secrets/{use['source']}" if kind == "secrets" else f"/{use['source']}"
    target = use.get("target") or default
    if kind == "secrets" and not target.startswith("/"):
        target = f"/run/secrets/{target}"
    target = clean(target)
    if definition.get("file"):
        found.oci.append(bind_mount(definition["file"], target, ["rbind", "rprivate", "ro"]))
        return
    content = str(definition.get("content") or "")
    mode = int(str(use.get("mode") or "0444"), 8)
    found.files.append(GivenFile(target, content, int(use.get("uid") or 0), int(use.get("gid") or 0), mode))
