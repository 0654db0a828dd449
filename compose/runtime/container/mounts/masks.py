"""Masked and read-only paths: what covers parts of /proc and /sys."""

from __future__ import annotations

import os
import stat

from compose.linux import mount as m
from compose.runtime.container.rootfs import open_plain
from compose.runtime.container.steps import MASK, READ_ONLY, Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from compose.runtime.container.steps import Progress


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
