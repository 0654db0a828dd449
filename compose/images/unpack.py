"""Writing archive entries below a directory descriptor, so that no name and no link can leave it.

Parents are resolved by ``openat2(RESOLVE_IN_ROOT)``: a link inside the tree is followed as a process in it
would, ``..`` and absolute targets end at the tree's root. The last component is never followed: what stands
there is replaced (but a directory by a directory), owner, mode and times are set through the descriptor of
the file that was just made. Whiteouts of the OCI image specification (layer.md, "Whiteouts") become
overlayfs's: a character device 0/0 for ``.wh.NAME``, the xattr in `OPAQUE` for ``.wh..wh..opq``; they hide
lower layers only, wherever they stand in the archive.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ImageError
from compose.images.tar import Bytes, Entry, Limits, Readable, read
from compose.linux.beneath import open_in_root, remove_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPAQUE = "trusted.overlay.opaque"
WHITEOUT_PREFIX = b".wh."
OPAQUE_MARK = b".wh..wh..opq"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_PARENTS = 64


class Unpacked(NamedTuple):
    """What came out of an archive."""

    entries: int
    size: int
    """Bytes of file content."""


def keep_xattr(name: str) -> bool:
    """Whether an extended attribute is part of an image: capabilities, ACLs, and users' own ones.

    Not overlayfs's (``trusted.overlay.*``, ``user.overlay.*``): they could redirect a path or fake a
    whiteout.
    """
    if name.startswith("user."):
        return not name.startswith("user.overlay.")
    return name == "security.capability" or name.startswith("system.posix_acl_")


def unpack(
    source: Readable,
    directory: int,
    *,
    whiteouts: bool = False,
    keep_directory_links: bool = False,
    owner: tuple[int, int] | None = None,
    limits: Limits | None = None,
    wanted: Callable[[Entry], bool] | None = None,
) -> Unpacked:
    """Unpack an uncompressed tar stream below the descriptor `directory`; raises `ImageError`.

    `whiteouts`: the archive is a layer. `keep_directory_links`: an entry for a directory leaves a link to a
    directory in its place (as dpkg does, for a merged /usr). `owner` wins over the archive's ids. Entries
    that `wanted` refuses are left out. The stream is read to its end. What a failure left behind stays; the
    caller throws the whole tree away.
    """
    unpacker = Unpacker(
        directory, whiteouts=whiteouts, keep_directory_links=keep_directory_links, owner=owner
    )
    entries = size = 0
    with contextlib.closing(unpacker):
        for entry, content in read(source, limits):
            if wanted is not None and not wanted(entry):
                continue
            unpacker.add(entry, content)
            entries += 1
            size += entry.size
        unpacker.finish()
    return Unpacked(entries, size)


class Unpacker:
    """Makes one entry after the other; `finish` sets directories' times, `close` gives descriptors back."""

    def __init__(
        self,
        directory: int,
        *,
        whiteouts: bool = False,
        keep_directory_links: bool = False,
        keep_kinds: bool = False,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """`keep_kinds`: a directory is never replaced by something else, nor something else by a
        directory."""
        self._root = directory
        self._keep_kinds = keep_kinds
        self._whiteouts = whiteouts
        self._keep_directory_links = keep_directory_links
        self._owner = owner
        self._parents: OrderedDict[bytes, int] = OrderedDict()
        self._times: dict[bytes, int] = {}

    def close(self) -> None:
        for descriptor in self._parents.values():
            os.close(descriptor)
        self._parents.clear()

    def add(self, entry: Entry, content: Bytes) -> None:
        """Make one entry; raises `ImageError` that names it."""
        try:
            self._add(entry, content)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ImageError(f"unpack {_show(entry.name)}: {reason}") from error

    def _add(self, entry: Entry, content: Bytes) -> None:
        path = clean(entry.name)
        if not path:
            if entry.kind != stat.S_IFDIR:
                raise ImageError(f"unpack {_show(entry.name)}: the root can only be a directory")
            self._set_directory(self._root, path, entry)
            return
        above, _, name = path.rpartition(b"/")
        if self._whiteouts and name.startswith(WHITEOUT_PREFIX):
            self._whiteout(self._parent(above), name)
        elif entry.kind == stat.S_IFDIR:
            self._directory(above, name, path, entry)
        else:
            try:
                self._leaf(self._parent(above), name, entry, content)
            except FileExistsError:  # only ever from making it, before any content was read
                if self._keep_kinds and stat.S_ISDIR(_lstat(self._parent(above), name).st_mode):
                    raise ImageError(f"{_show(path)} is a directory there, and no directory here") from None
                self._remove(self._parent(above), name, path)
                self._leaf(self._parent(above), name, entry, content)

    def _parent(self, path: bytes) -> int:
        """A descriptor of the directory `path`, made where it is missing; good until the next call."""
        if not path:
            return self._root
        found = self._parents.get(path)
        if found is not None:
            self._parents.move_to_end(path)
            return found
        try:
            found = open_in_root(self._root, path, _DIRECTORY)
        except FileNotFoundError:
            found = self._make_parents(path)
        self._parents[path] = found
        if len(self._parents) > _OPEN_PARENTS:
            os.close(self._parents.popitem(last=False)[1])
        return found

    def _make_parents(self, path: bytes) -> int:
        parts = path.split(b"/")
        for length in range(1, len(parts) + 1):
            above, part = b"/".join(parts[: length - 1]), b"/".join(parts[:length])
            try:
                os.close(open_in_root(self._root, part, _DIRECTORY))
            except FileNotFoundError:
                directory = open_in_root(self._root, above, _DIRECTORY)
                try:
                    os.mkdir(parts[length - 1], 0o755, dir_fd=directory)
                    with _opened(directory, parts[length - 1]) as made:
                        os.fchmod(made, 0o755)
                finally:
                    os.close(directory)
        return open_in_root(self._root, path, _DIRECTORY)

    def _remove(self, parent: int, name: bytes, path: bytes) -> None:
        """Remove what stands at `name`; a path that was resolved before may lead elsewhere afterwards."""
        remove_tree(parent, name)
        self._times = {key: value for key, value in self._times.items() if not _within(key, path)}
        self.close()

    def _whiteout(self, parent: int, name: bytes) -> None:
        if name == OPAQUE_MARK:
            os.setxattr(parent, OPAQUE, b"y")
            return
        if name.startswith(b".wh..wh."):  # aufs's own bookkeeping
            return
        hidden = name[len(WHITEOUT_PREFIX) :]
        if hidden in (b"", b".", b".."):
            raise ImageError(f"the layer has a whiteout of {os.fsdecode(hidden)!r}")
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
        except FileExistsError:  # an entry of this very layer: it stays, and hides the lower ones by itself
            if stat.S_ISDIR(_lstat(parent, hidden).st_mode):
                with _opened(parent, hidden) as descriptor:
                    os.setxattr(descriptor, OPAQUE, b"y")

    def _directory(self, above: bytes, name: bytes, path: bytes, entry: Entry) -> None:
        parent = self._parent(above)
        opaque = False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            mode = _lstat(parent, name).st_mode
            if stat.S_ISLNK(mode) and self._keep_directory_links and self._leads_to_directory(path):
                return
            if not stat.S_ISDIR(mode):
                if self._keep_kinds:
                    raise ImageError(f"{_show(path)} is a directory here, and none there") from None
                self._remove(parent, name, path)
                parent = self._parent(above)
                os.mkdir(name, 0o700, dir_fd=parent)
                opaque = self._whiteouts  # what stood here (a whiteout, say) hid the lower layers
        with _opened(parent, name) as descriptor:
            if opaque:
                os.setxattr(descriptor, OPAQUE, b"y")
            self._set_directory(descriptor, path, entry)

    def _leads_to_directory(self, path: bytes) -> bool:
        try:
            os.close(open_in_root(self._root, path, _DIRECTORY))
        except OSError:
            return False
        return True

    def _set_directory(self, descriptor: int, path: bytes, entry: Entry) -> None:
        uid, gid = self._owner or (entry.uid, entry.gid)
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, entry.mode)
        set_xattrs(descriptor, entry.xattrs)
        self._times[path] = entry.mtime

    def _leaf(self, parent: int, name: bytes, entry: Entry, content: Bytes) -> None:
        uid, gid = self._owner or (entry.uid, entry.gid)
        if entry.kind == stat.S_IFREG:
            self._file(parent, name, entry, content, uid, gid)
        elif entry.kind == 0:
            self._hard_link(parent, name, entry)
        elif entry.kind == stat.S_IFLNK:
            if not entry.link:
                raise ImageError(f"unpack {_show(entry.name)}: a link without a target")
            os.symlink(entry.link, name, dir_fd=parent)
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
            os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
        else:
            self._node(parent, name, entry, uid, gid)

    def _file(self, parent: int, name: bytes, entry: Entry, content: Bytes, uid: int, gid: int) -> None:
        descriptor = os.open(name, _CREATE, 0o600, dir_fd=parent)
        try:
            while data := content.read():
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, entry.mode)  # after chown, which clears setuid and capabilities
            set_xattrs(descriptor, entry.xattrs)
            os.utime(descriptor, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(descriptor)

    def _hard_link(self, parent: int, name: bytes, entry: Entry) -> None:
        target = clean(entry.link)
        above, _, last = target.rpartition(b"/")
        if not last or (self._whiteouts and last.startswith(WHITEOUT_PREFIX)):
            raise ImageError(f"unpack {_show(entry.name)}: a hard link to {_show(entry.link)}")
        directory = open_in_root(self._root, above, _DIRECTORY)
        try:
            os.link(last, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(directory)

    def _node(self, parent: int, name: bytes, entry: Entry, uid: int, gid: int) -> None:
        if entry.kind == stat.S_IFCHR and entry.device == (0, 0):
            raise ImageError(f"unpack {_show(entry.name)}: the device 0/0 means a whiteout to overlayfs")
        if entry.device[0] >= 1 << 12 or entry.device[1] >= 1 << 20:
            raise ImageError(f"unpack {_show(entry.name)}: a device number out of range")
        os.mknod(name, entry.kind | 0o600, os.makedev(*entry.device), dir_fd=parent)
        os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
        node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if stat.S_IFMT(os.fstat(node).st_mode) != entry.kind:  # somebody else writes here too
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            os.chmod(f"/proc/self/fd/{node}", entry.mode)
        finally:
            os.close(node)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def finish(self) -> None:
        """Set the times of directories, which every entry below them has changed."""
        for path, mtime in self._times.items():
            try:
                descriptor = open_in_root(self._root, path, _DIRECTORY | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # a later entry took its place
                raise ImageError(f"unpack {_show(path)}: {error.strerror}") from error
            try:
                os.utime(descriptor, ns=(mtime, mtime))
            finally:
                os.close(descriptor)
        self._times.clear()


def clean(name: bytes) -> bytes:
    """`name` without ``.`` and doubled or leading slashes; a ``..`` in it is an `ImageError`."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise ImageError(f"the archive has a name that leaves it: {_show(name)}")
    return b"/".join(parts)


def set_xattrs(descriptor: int, xattrs: dict[str, bytes]) -> None:
    """Set those extended attributes that an image keeps (`keep_xattr`)."""
    for name, value in xattrs.items():
        if keep_xattr(name):
            try:
                os.setxattr(descriptor, name, value)
            except OSError as error:
                if error.errno != errno.ENOTSUP or name == "security.capability":
                    raise


def _show(name: bytes) -> str:
    return repr(os.fsdecode(name[:200]))


def _within(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory + b"/")


def _lstat(parent: int, name: bytes) -> os.stat_result:
    return os.stat(name, dir_fd=parent, follow_symlinks=False)


@contextlib.contextmanager
def _opened(parent: int, name: bytes) -> Iterator[int]:
    """The directory `name` itself, never what a link of that name leads to."""
    descriptor = os.open(name, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
