"""Where mounts come from: detached clones of what there is on the host, or in another container."""

from __future__ import annotations

import os

from compose.linux import mount as m
from compose.linux.beneath import RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, open_beneath, openat2
from compose.linux.files import PROC_SUPER_MAGIC, file_system_type
from compose.linux.namespaces import CLONE_NEWNS, setns
from compose.runtime.container.rootfs import open_plain
from compose.runtime.container.steps import LEADS_OUT, MOUNT_SOURCE, NO_PROC, NOT_SHARED, REPLACED, Failure
from compose.runtime.spec import SHARED_SHM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from compose.runtime.container.steps import Progress

_PEERS = frozenset({"shared", "rshared", "slave", "rslave"})
_EXDEV = 18


def is_bind(mount: dict[str, Any]) -> bool:
    """Whether the mount shows an existing file or directory of the host."""
    words = mount.get("options") or ()
    return mount.get("type") == "bind" or "bind" in words or "rbind" in words


def open_sources(
    mounts: Sequence[dict[str, Any]], files: Mapping[int, Sequence[int]], progress: Progress
) -> dict[int, int]:
    """Detached clones of all bind sources, by place in `mounts`; in the host's mount namespace.

    `files` are those that there are already: a chain, of which the last one is what the container sees.
    """
    found = {index: chain[-1] for index, chain in files.items()}
    for index, mount in enumerate(mounts):
        if index not in found and is_bind(mount):
            progress.at(MOUNT_SOURCE, index)
            found[index] = open_source(mount, index)
    return found


def source_path(mount: dict[str, Any]) -> str:
    """The source as messages name it."""
    source, subpath = str(mount.get("source", "")), mount.get("subpath")
    return f"{source}/{subpath}" if subpath else source


def open_source(mount: dict[str, Any], index: int = 0) -> int:
    """A detached clone of a bind mount's source, or of its ``subpath``. Raises `OSError`, `Failure`."""
    words = mount.get("options") or ()
    flags = m.OPEN_TREE_CLONE | (m.AT_RECURSIVE if "rbind" in words else 0)
    if not (mount.get("subpath") or mount.get("area") or _PEERS.intersection(words)):
        return m.open_tree(m.AT_FDCWD, mount["source"], flags)
    place = open_place(mount, index)
    try:
        if mount.get("subpath"):
            place = _replace(place, _open_subpath(place, mount["subpath"], index))
        _check_peers(place, words, index)
        return m.open_tree(place, "", flags | m.AT_EMPTY_PATH)
    finally:
        os.close(place)


def open_place(mount: dict[str, Any], index: int = 0) -> int:
    """An O_PATH descriptor of a bind mount's source, without its ``subpath``. Raises `OSError`, `Failure`.

    In an ``area`` a container can write: from there it leads ``within`` the area, or to where it led when the
    container was made (``leads_to``), whatever links are there now.
    """
    if not mount.get("area"):
        return os.open(mount["source"], os.O_PATH | os.O_CLOEXEC)
    area = os.open(mount["area"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_beneath(area, mount["within"], os.O_PATH)
    except OSError as error:
        if error.errno != _EXDEV:
            raise
        return _open_behind_link(area, mount, index)
    finally:
        os.close(area)


def _open_behind_link(area: int, mount: dict[str, Any], index: int) -> int:
    """A link is absolute or leads out; what is behind it is opened by its real path, on which is no link."""
    real = os.path.realpath(f"{mount['area']}/{mount['within']}")
    if real.startswith(f"{mount['area']}/"):
        return open_plain(area, real[len(mount["area"]) + 1 :], os.O_PATH)
    if real == mount.get("leads_to"):
        return openat2(m.AT_FDCWD, real, os.O_PATH, resolve=RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    raise Failure(MOUNT_SOURCE, REPLACED, index)


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _open_subpath(directory: int, path: str, index: int) -> int:
    """What containers put into a volume is hostile: a link that leads out of it is an error."""
    try:
        return open_beneath(directory, path, os.O_PATH)
    except OSError as error:
        if error.errno == _EXDEV:
            raise Failure(MOUNT_SOURCE, LEADS_OUT, index) from None
        raise


def _check_peers(place: int, words: Sequence[str], index: int) -> None:
    """Mounts can only come and go with those of the host if the source's own mount has peers there."""
    asked = _PEERS.intersection(words)
    if asked:
        fields = _peer_groups(place)
        if not any(field.startswith("shared:") for field in fields) and (
            "shared" in asked or "rshared" in asked or not fields
        ):
            raise Failure(MOUNT_SOURCE, NOT_SHARED, index)


def _peer_groups(place: int) -> list[str]:
    """The optional fields (``shared:N``, ``master:N``) of the mount that a descriptor lies on."""
    with open(f"/proc/self/fdinfo/{place}", encoding="ascii") as file:
        number = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            if fields[0] == number:
                return fields[6 : fields.index("-")]
    return []


def open_shared(mounts: Sequence[dict[str, Any]], namespace: int, progress: Progress) -> dict[int, int]:
    """Detached clones of /dev/shm of another container, whose mount namespace is given, by place in `mounts`.

    We are in there for three calls, with everything that they need loaded before; what is in there may be
    hostile, so that no link is followed, and what the clone may do is said by us.
    """
    found = {}
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    for index, mount in enumerate(mounts):
        if mount.get("type") == SHARED_SHM:
            progress.at(MOUNT_SOURCE, index)
            setns(namespace, CLONE_NEWNS)
            try:
                place = open_plain(m.AT_FDCWD, "dev/shm", os.O_PATH | os.O_DIRECTORY)
                found[index] = m.clone_tree(place)
                os.close(place)
            finally:
                setns(own, CLONE_NEWNS)
    os.close(own)
    return found


def open_proc(
    mounts: Sequence[dict[str, Any]], namespace: int, pid_namespace: int, progress: Progress
) -> dict[int, int]:
    """Detached clones of /proc of another container, whose mount and pid namespace are given, by place in
    `mounts`: whoever is not in that pid namespace can make no such file system. Raises Failure with NO_PROC
    when there is another one at its place.
    """
    found = {}
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    for index, mount in enumerate(mounts):
        if mount.get("type") == "proc":
            progress.at(MOUNT_SOURCE, index)
            setns(namespace, CLONE_NEWNS)
            try:
                place = open_plain(m.AT_FDCWD, "proc", os.O_PATH | os.O_DIRECTORY)
                if not _shows(place, pid_namespace):
                    raise Failure(MOUNT_SOURCE, NO_PROC, index)
                found[index] = m.clone_tree(place)
                os.close(place)
            except OSError:
                raise Failure(MOUNT_SOURCE, NO_PROC, index) from None
            finally:
                setns(own, CLONE_NEWNS)
    os.close(own)
    return found


def _shows(place: int, pid_namespace: int) -> bool:
    """Whether a directory is the root of the procfs of a pid namespace."""
    if file_system_type(place) != PROC_SUPER_MAGIC:
        return False
    wanted, there = os.fstat(pid_namespace), os.stat("1/ns/pid", dir_fd=place)
    return (wanted.st_dev, wanted.st_ino) == (there.st_dev, there.st_ino)
