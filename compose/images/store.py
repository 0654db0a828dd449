"""The image store as commands use it.

layout       what lies where on disk, and the rules that keep it whole
catalogue    which images there are
session      one command's work: leases, new layers, new images
removal      what goes, and what nothing names any more
acquire      images that are not there yet
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from compose.errors import ImageError
from compose.images import scratch
from compose.images.catalogue import Catalogue
from compose.images.layout import Layout
from compose.images.removal import Removal
from compose.images.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compose.state.paths import Paths


class ImageStore(Catalogue):
    """Images and layers below ``Paths.images``, to look up and to change."""

    def __init__(self, paths: Paths) -> None:
        super().__init__(Layout(paths.images))
        self.paths = paths
        self.root = paths.images

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Scratch and leases of one command; gone when the block ends, however it ends."""
        self.layout.prepare()
        path = f"{self.root}/scratch/{scratch.new_name()}"
        os.mkdir(path, 0o700)
        try:
            self._sweep(path)
            yield Session(self, path)
        finally:
            scratch.remove(path)

    def _sweep(self, own: str) -> None:
        """Take over the scratch of dead commands, and remove it."""
        directory = f"{self.root}/scratch"
        if not scratch.dead(directory):
            return
        with self.layout.locked():
            for number, name in enumerate(scratch.dead(directory)):
                os.rename(f"{directory}/{name}", f"{own}/dead-{number}")
        for name in os.listdir(own):
            scratch.remove(f"{own}/{name}")

    def tag(self, image: str, name: str) -> None:
        """Give the image (name or id) another name; what had it before loses it."""
        found = self.find(image)
        if found is None:
            raise ImageError(f"no image {image} in the store")
        with self.session() as session:
            session.add_names(self.manifest_of(found.id), [name])

    def remove(
        self, reference: str, *, force: bool = False, warn: Callable[[str], None] | None = None
    ) -> list[str]:
        """Remove a name, and with its last name the image; what went, one word or digest each.

        An image that a container uses keeps its layers and is an `ImageError`; `force` takes only its names
        away. `warn` hears why layers stay that nobody may need any more.
        """
        with self._removal() as removal:
            gone = removal.remove(reference, force=force)
        if removal.unsure and warn is not None:
            warn(removal.unsure)
        return gone

    def prune(self, *, cache: bool = False) -> list[str]:
        """Remove images without a name and layers that nothing names; with `cache` the build cache too."""
        with self._removal() as removal:
            return removal.prune(cache=cache)

    @contextlib.contextmanager
    def _removal(self) -> Iterator[Removal]:
        with self.session() as session, self.layout.locked():
            yield Removal(self, self.paths, session.path)
