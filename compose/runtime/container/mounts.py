"""The mounts of an OCI configuration, made inside the container's mount namespace.

In two parts, because sources are the host's business and targets the container's:

    open_sources()  in the host's mount namespace: every bind source becomes a detached clone of its mount,
                    looked up once; it keeps its peer group, so that shared propagation works
    attach()        in the container's: file systems are made, sources are given their options while detached,
                    and each is moved onto a target found below the root's descriptor

Mounts are attached in the order of their depth, so that one never hides another.
"""

from __future__ import annotations

import os
import stat

from compose.linux import mount as m
from compose.linux.beneath import open_beneath
from compose.linux.files import PROC_SUPER_MAGIC, file_system_type
from compose.linux.namespaces import CLONE_NEWNS, setns
from compose.runtime.container.rootfs import open_plain, open_target
from compose.runtime.container.steps import (
    DEVICE,
    FILE_AND_DIRECTORY,
    LEADS_OUT,
    MASK,
    MOUNT,
    MOUNT_SOURCE,
    MOUNT_TARGET,
    NO_PROC,
    NOT_SHARED,
    READ_ONLY,
    Failure,
)
from compose.runtime.spec import SHARED_SHM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from compose.runtime.container.steps import Progress

_SET = {
    "ro": m.MOUNT_ATTR_RDONLY,
    "nosuid": m.MOUNT_ATTR_NOSUID,
    "nodev": m.MOUNT_ATTR_NODEV,
    "noexec": m.MOUNT_ATTR_NOEXEC,
    "nodiratime": m.MOUNT_ATTR_NODIRATIME,
    "nosymfollow": m.MOUNT_ATTR_NOSYMFOLLOW,
}
_CLEAR = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "diratime": "nodiratime"}
_ATIME = {
    "relatime": m.MOUNT_ATTR_RELATIME,
    "noatime": m.MOUNT_ATTR_NOATIME,
    "strictatime": m.MOUNT_ATTR_STRICTATIME,
}
_PROPAGATION = {
    "private": m.MS_PRIVATE,
    "shared": m.MS_SHARED,
    "slave": m.MS_SLAVE,
    "unbindable": m.MS_UNBINDABLE,
}
_PEERS = frozenset({"shared", "rshared", "slave", "rslave"})
_EXDEV = 18
_TEMPORARY = 0o1777
"""What a tmpfs looks like where the image has no directory of its place; so it does after a restart too."""
_IGNORED = frozenset({"defaults", "async", "norelatime", "nostrictatime", "atime", "bind", "rbind"})


class Options:
    """An OCI mount's option list, sorted by what each one acts on."""

    __slots__ = (
        *("attr_clr", "attr_set", "bind", "data", "propagation", "recursive", "tree_clr", "tree_set"),
    )

    def __init__(self, words: Sequence[str]) -> None:
        self.attr_set = 0
        self.attr_clr = 0
        self.tree_set = 0
        self.tree_clr = 0
        self.propagation = 0
        self.bind = "bind" in words or "rbind" in words
        self.recursive = "rbind" in words
        self.data: dict[str, str] = {}
        for word in words:
            self._take(word)

    def _take(self, word: str) -> None:
        if word in _IGNORED:
            return
        if word in _SET:
            self.attr_set |= _SET[word]
        elif word in _CLEAR:
            self.attr_clr |= _SET[_CLEAR[word]]
        elif word in _ATIME:
            self.attr_clr |= m.MOUNT_ATTR__ATIME
            self.attr_set = self.attr_set & ~m.MOUNT_ATTR__ATIME | _ATIME[word]
        elif word[:1] == "r" and word[1:] in _SET:
            self.tree_set |= _SET[word[1:]]
        elif word[:1] == "r" and word[1:] in _CLEAR:
            self.tree_clr |= _SET[_CLEAR[word[1:]]]
        elif word.removeprefix("r") in _PROPAGATION:  # for all that is bound, as far as that goes
            self.propagation = _PROPAGATION[word.removeprefix("r")]
        else:
            key, _, value = word.partition("=")
            self.data[key] = value

    def apply(self, tree: int) -> None:
        """Give the detached bind mount `tree` these options."""
        propagation = self.propagation or m.MS_PRIVATE
        whole = m.AT_RECURSIVE if self.recursive else 0
        m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH | whole, propagation=propagation)
        if self.attr_set or self.attr_clr:
            m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, attr_set=self.attr_set, attr_clr=self.attr_clr)
        if self.tree_set or self.tree_clr:
            flags = m.AT_EMPTY_PATH | m.AT_RECURSIVE
            m.mount_setattr(tree, "", flags=flags, attr_set=self.tree_set, attr_clr=self.tree_clr)


def option_names() -> list[str]:
    """Every option that is not handed on to the file system."""
    recursive = {f"r{name}" for name in (*_SET, *_CLEAR, *_PROPAGATION)}
    return sorted({*_SET, *_CLEAR, *_ATIME, *_PROPAGATION, *recursive, *_IGNORED})


def in_order(mounts: Sequence[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """The mounts with their places in the configuration, parents before what lies below them."""
    return sorted(
        enumerate(mounts), key=lambda pair: len([p for p in pair[1]["destination"].split("/") if p])
    )


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
    if not mount.get("subpath") and not _PEERS.intersection(words):
        return m.open_tree(m.AT_FDCWD, mount["source"], flags)
    place = os.open(mount["source"], os.O_PATH | os.O_CLOEXEC)
    try:
        if mount.get("subpath"):
            place = _replace(place, _open_subpath(place, mount["subpath"], index))
        _check_peers(place, words, index)
        return m.open_tree(place, "", flags | m.AT_EMPTY_PATH)
    finally:
        os.close(place)


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


def attach_all(
    root: int,
    mounts: Sequence[dict[str, Any]],
    sources: dict[int, int],
    cgroups: dict[str, int] | None,
    progress: Progress,
    floors: Mapping[int, int] | None = None,
) -> None:
    """Make and attach every mount below `root`.

    `floors` are mounts that come below those of `sources` (swap.py); `cgroups` is what `Cgroup.open_mounts`
    gave.
    """
    for index, mount in in_order(mounts):
        progress.at(MOUNT, index)
        kind = mount.get("type") or ""
        options = Options(mount.get("options") or ())
        if index in sources:
            tree = sources[index]
            options.apply(tree)
            directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        else:
            tree = _new_file_system(kind, mount, options, cgroups)
            directory = True
        progress.at(MOUNT_TARGET, index)
        mode = _TEMPORARY if kind == "tmpfs" else 0o755
        target = open_target(root, mount["destination"], directory=directory, mode=mode)
        progress.at(MOUNT, index)
        if directory != stat.S_ISDIR(os.fstat(target).st_mode):
            raise Failure(MOUNT, FILE_AND_DIRECTORY, index)
        if kind == "tmpfs" and index not in sources:
            _finish_tmpfs(tree, target, options)
        if floors and index in floors:
            m.move_mount(floors[index], target)
            m.move_mount(tree, floors[index])
        else:
            m.move_mount(tree, target)
        os.close(target)
        if kind == "cgroup" and cgroups:
            _attach_hierarchies(tree, cgroups, options)
        os.close(tree)


def _new_file_system(
    kind: str, mount: dict[str, Any], options: Options, cgroups: dict[str, int] | None
) -> int:
    attributes = options.attr_set | options.tree_set
    if kind == "cgroup":
        if cgroups is None:
            return m.new_mount("cgroup2", {}, attributes, "cgroup")
        return m.new_mount(
            "tmpfs", {"mode": "755", "size": "64k"}, attributes & ~m.MOUNT_ATTR_RDONLY, "tmpfs"
        )
    if kind == "tmpfs":
        attributes &= ~m.MOUNT_ATTR_RDONLY  # `_finish_tmpfs` sets it
    tree = m.new_mount(kind, options.data, attributes, mount.get("source") or kind)
    if mount["destination"] == "/dev":
        fill_dev(tree)
    return tree


def _attach_hierarchies(tree: int, cgroups: dict[str, int], options: Options) -> None:
    """Cgroup v1: the container's directory of each hierarchy, on a tmpfs, with links for joined ones."""
    for name, source in cgroups.items():
        os.mkdir(name, 0o755, dir_fd=tree)
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
        m.mount_setattr(
            source, "", flags=m.AT_EMPTY_PATH, attr_set=options.attr_set, propagation=m.MS_PRIVATE
        )
        m.move_mount(source, place)
        os.close(place)
        os.close(source)
        for alias in name.split(","):
            if alias != name:
                os.symlink(name, alias, dir_fd=tree)
    m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, attr_set=options.attr_set)


def _finish_tmpfs(tree: int, target: int, options: Options) -> None:
    """A tmpfs looks like the directory of the image that it covers, where its options say nothing else."""
    if "mode" not in options.data:
        found = os.fstat(target)
        uid = -1 if "uid" in options.data else found.st_uid
        gid = -1 if "gid" in options.data else found.st_gid
        os.chown(".", uid, gid, dir_fd=tree)
        os.chmod(".", stat.S_IMODE(found.st_mode), dir_fd=tree)
    if options.attr_set & m.MOUNT_ATTR_RDONLY:
        m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, attr_set=m.MOUNT_ATTR_RDONLY)


# /dev

_DEVICES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_LINKS = (
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)


def fill_dev(tree: int) -> None:
    """The standard devices and links on a new and still detached /dev."""
    for name, major, minor in _DEVICES:
        make_device(tree, name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for name, text in _LINKS:
        os.symlink(text, name, dir_fd=tree)


def make_device(directory: int, name: str, mode: int, device: int) -> None:
    """A device node with exactly this mode, whatever the umask is."""
    os.mknod(name, mode, device, dir_fd=directory)
    os.chmod(name, stat.S_IMODE(mode), dir_fd=directory)


def make_devices(root: int, devices: Sequence[dict[str, Any]], progress: Progress) -> None:
    """The nodes of OCI ``linux.devices``, replacing what the image has at their paths."""
    kinds = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
    for index, device in enumerate(devices):
        progress.at(DEVICE, index)
        if device["path"] == "/dev/ptmx":  # ours leads to the container's own devpts, as with runc
            continue
        parent, _, name = device["path"].rstrip("/").rpartition("/")
        directory = open_target(root, parent or "/", directory=True)
        mode = kinds[device["type"]] | device.get("fileMode", 0o666)
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        try:
            make_device(directory, name, mode, number)
        except FileExistsError:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_IFMT(found.st_mode) != stat.S_IFMT(mode) or found.st_rdev != number:
                raise
        os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=directory, follow_symlinks=False)
        os.close(directory)


# Masked and read-only paths


class Masks:
    """Covers paths by /dev/null or an empty directory; the first cover is cloned for all others."""

    __slots__ = ("_directory", "_null")

    def __init__(self, null: int) -> None:
        """`null` is a detached clone of the host's /dev/null, from `open_null`."""
        self._null = null
        self._directory = -1

    def cover(self, root: int, paths: Sequence[str], progress: Progress) -> None:
        """Cover those of `paths` that exist."""
        for target in _present(root, paths, MASK, progress):
            if stat.S_ISDIR(os.fstat(target).st_mode):
                self._directory = self._put(self._directory, target, directory=True)
            else:
                self._null = self._put(self._null, target, directory=False)

    def _put(self, cover: int, target: int, *, directory: bool) -> int:
        if cover == -1:
            attributes = m.MOUNT_ATTR_RDONLY | m.MOUNT_ATTR_NOSUID | m.MOUNT_ATTR_NODEV | m.MOUNT_ATTR_NOEXEC
            cover = m.new_mount("tmpfs", {"size": "4k", "nr_inodes": "2"}, attributes)
            m.move_mount(cover, target)
            return cover
        try:
            clone = m.clone_tree(cover)  # works once the cover is attached
        except OSError:
            m.move_mount(cover, target)
            return cover
        m.move_mount(clone, target)
        os.close(clone)
        return cover


def open_null() -> int:
    """A detached clone of the host's /dev/null, after making sure that it is character device 1:3."""
    tree = m.open_tree(m.AT_FDCWD, "/dev/null", m.OPEN_TREE_CLONE)
    found = os.fstat(tree)
    if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(1, 3):
        raise Failure(MASK, 19)  # ENODEV
    m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, propagation=m.MS_PRIVATE)
    return tree


def _present(root: int, paths: Sequence[str], step: int, progress: Progress) -> Iterator[int]:
    """A descriptor of each of `paths` that exists, good for one turn."""
    for index, path in enumerate(paths):
        progress.at(step, index)
        try:
            target = open_plain(root, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            continue
        yield target
        os.close(target)


def make_read_only(root: int, paths: Sequence[str], progress: Progress) -> None:
    """Cover those of `paths` that exist by a read-only view of themselves."""
    for target in _present(root, paths, READ_ONLY, progress):
        clone = m.clone_tree(target, recursive=True)
        m.mount_setattr(clone, "", flags=m.AT_EMPTY_PATH | m.AT_RECURSIVE, attr_set=m.MOUNT_ATTR_RDONLY)
        m.move_mount(clone, target)
        os.close(clone)
