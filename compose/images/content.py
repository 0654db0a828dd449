"""What an image has at a path, copied out of it: the first content of a named volume."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from compose.errors import ImageError
from compose.images.copying import Copier, Rules
from compose.images.overlay import mounted
from compose.linux.beneath import open_in_root

if TYPE_CHECKING:
    from compose.images.catalogue import Image
    from compose.images.store import ImageStore

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def copy_content(store: ImageStore, image: Image, path: str, destination: str) -> bool:
    """Copy what `image` has in the directory `path` into the directory `destination`, which also gets its
    owner, mode and times. False if the image has no directory there. Raises `ImageError`.

    `path` is looked up as a process in the container would, so that links in the image stay in the image.
    """
    with mounted(store.root, image.layers) as root:
        try:
            source = open_in_root(root, os.fsencode(path), _DIRECTORY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return False
            raise
        try:
            target = os.open(destination, _DIRECTORY | os.O_NOFOLLOW)
            try:
                with Copier(Rules()) as copier:
                    copier.tree(source, target)
                    copier.attributes(source, target)
            finally:
                os.close(target)
        except OSError as error:
            raise ImageError(f"copy {path} of the image to {destination}: {error.strerror}") from error
        finally:
            os.close(source)
    return True
