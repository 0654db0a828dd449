"""Looking at an image's tree, and changing it: an overlay mount that nobody else sees.

The mount is made by a thread with a mount namespace and a working directory of its own and handed out as a
descriptor of a detached copy (``open_tree``): it has no path, and is gone when its descriptor is closed,
after ``kill -9`` as well. Layers are named by their descriptors' numbers, with /proc/self/fd as the thread's
working directory: mount(2) takes one page of options, which absolute paths would fill at 39 layers.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from compose.errors import ImageError
from compose.linux import mount as m
from compose.linux.private_mounts import in_private_mounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Renamed directories and metadata-only copies would live in xattrs that a layer cannot carry.
_FEATURES = "redirect_dir=off,metacopy=off,index=off,xino=off"
_PAGE = 4095
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_O_PATH_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def mounted(
    store: str, layers: Sequence[str], *, upper: str | None = None, work: str | None = None
) -> Iterator[int]:
    """A descriptor of the merged tree of `layers` (lowest first); writable if `upper` and `work` are given.

    `store` is the image store, whose directory ``empty`` is used. Raises `ImageError`.
    """
    try:
        tree, root = in_private_mounts(lambda: _mount(store, layers, upper, work))
    except OSError as error:
        raise ImageError(f"mount the layers of an image: {error.strerror}") from error
    try:
        yield root
    finally:
        os.close(root)
        os.close(tree)


def _mount(store: str, layers: Sequence[str], upper: str | None, work: str | None) -> tuple[int, int]:
    """The detached mount, and its root directory.

    Both are needed: once the descriptor of the mount itself is closed, it belongs to no mount namespace, and
    then openat2 answers EAGAIN for ever to ``..`` behind a symbolic link (Linux 6.18: letting go of such a
    mount takes the lock whose sequence number the scoped lookup compares).
    """
    # overlayfs wants two different lower directories, or an upper one
    lower = list(reversed(layers))
    if len(lower) < 2:
        lower.append(f"{store}/empty")
    if not layers and upper is None:
        return os.open(lower[0], _O_PATH_DIRECTORY), os.open(lower[0], _DIRECTORY)
    opened: list[int] = []
    try:
        for path in lower:
            opened.append(os.open(path, _O_PATH_DIRECTORY))
        options = "lowerdir=" + ":".join(map(str, opened))
        if upper is not None and work is not None:
            opened += [os.open(upper, _O_PATH_DIRECTORY), os.open(work, _O_PATH_DIRECTORY)]
            options += f",upperdir={opened[-2]},workdir={opened[-1]}"
        options += "," + _FEATURES
        if len(options) > _PAGE:
            raise ImageError(f"an image of {len(layers)} layers is more than one mount takes")
        os.chdir("/proc/self/fd")
        target = f"{store}/scratch"
        m.mount(
            "overlay", target, "overlay", m.MS_NODEV | m.MS_NOSUID | (0 if upper else m.MS_RDONLY), options
        )
        tree = m.open_tree(m.AT_FDCWD, target, m.OPEN_TREE_CLONE)
        try:
            if upper is not None and os.fstatvfs(tree).f_flag & os.ST_RDONLY:
                # what the kernel makes of an overlay without room for its working directory
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return tree, os.open(".", _DIRECTORY, dir_fd=tree)
        except OSError:
            os.close(tree)
            raise
    finally:
        for descriptor in opened:
            os.close(descriptor)
