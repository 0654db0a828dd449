"""Mounts of type ``image``: the files of another image, read-only.

Layers are opened in the container's mount namespace, as the kernel wants it, and before anything is attached
there: the container's own root covers the directory of one of its layers.
"""

from __future__ import annotations

import os

from compose.linux import mount as m
from compose.linux.beneath import open_in_root
from compose.runtime.container import rootfs
from compose.runtime.container.steps import MOUNT_SOURCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from compose.runtime.container.steps import Progress

IMAGE = "image"


def open_images(mounts: Sequence[dict[str, Any]], progress: Progress) -> dict[int, int]:
    """Detached mounts of all images, or of their ``subpath``, by place in `mounts`.

    ``layers`` of a mount are the directories of the image's layers, uppermost first.
    """
    found = {}
    for index, mount in enumerate(mounts):
        if mount.get("type") == IMAGE:
            progress.at(MOUNT_SOURCE, index)
            layers = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in mount["layers"]]
            tree = rootfs.read_only_overlay(layers)
            m.mount_setattr(tree, "", flags=m.AT_EMPTY_PATH, propagation=m.MS_PRIVATE)
            found[index] = _part(tree, layers[0], mount["subpath"]) if mount.get("subpath") else tree
            for layer in layers:
                os.close(layer)
    return found


def _part(tree: int, place: int, subpath: str) -> int:
    """A file or directory of the detached `tree`; links are followed within it.

    It is attached at `place` meanwhile: parts of a detached mount can only be cloned since Linux 6.15.
    """
    m.move_mount(tree, place)
    inner = open_in_root(tree, subpath, os.O_PATH)
    part = m.open_tree(inner, "", m.OPEN_TREE_CLONE | m.AT_EMPTY_PATH)
    os.close(inner)
    m.umount2(f"/proc/self/fd/{tree}", m.MNT_DETACH)
    os.close(tree)
    return part
