"""Which images the store has, and what they are made of. Nothing here changes anything."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any, NamedTuple

from compose.errors import ImageError
from compose.images import reference as references
from compose.images import settings
from compose.images.layout import Descriptor, Layer, Layout, name_of

Stamp = tuple[int, int, int]


class Image(NamedTuple):
    """An image in the store."""

    id: str
    """``sha256:`` and the digest of the config."""
    names: list[str]
    """Full names, see `compose.images.reference`."""
    config: dict[str, Any]
    """The whole OCI image config document; what containers start with is in its ``config``."""
    layers: list[str]
    """Directories, lowest first; ``rootfs.lower`` of a container is this list reversed."""

    @property
    def settings(self) -> dict[str, Any]:
        """Env, Cmd, Entrypoint, WorkingDir, User, Volumes, ExposedPorts, Labels, Healthcheck, ..."""
        found: dict[str, Any] = self.config.get("config") or {}
        return found

    @property
    def diff_ids(self) -> list[str]:
        found: list[str] = self.config["rootfs"]["diff_ids"]
        return found


class Catalogue:
    """The images of a layout. What cannot be read of one that is asked for is an `ImageError`."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._found: dict[str, tuple[Stamp, Image | None]] = {}
        """What `find` said last of a name; good for as long as index.json is the same file."""

    def images(self) -> list[Image]:
        """Every image, each once; those that are damaged are left out (`damaged` tells them)."""
        return self._survey()[0]

    def damaged(self) -> list[str]:
        """What is wrong with the images that `images` leaves out, one line each."""
        return self._survey()[1]

    def _survey(self) -> tuple[list[Image], list[str]]:
        found: list[Image] = []
        faults: list[str] = []
        for digest, names in self._by_manifest().items():
            try:
                found.append(self._image(digest, names))
            except ImageError as error:
                faults.append(f"{', '.join(names) or digest}: {error}")
        return found, faults

    def find(self, reference: str) -> Image | None:
        """The image of this name or id (``sha256:...``, or four or more digits of it if only one fits).

        Fifty services of one image ask fifty times, so an answer is kept until the index is replaced.
        """
        stamp = _stamp(f"{self.layout.root}/index.json")
        known = self._found.get(reference)
        if known is None or known[0] != stamp:
            known = self._found[reference] = (stamp, self._find(reference))
        return known[1]

    def _find(self, reference: str) -> Image | None:
        manifests = self._by_manifest()
        digest = _manifest_named(reference, manifests)
        if digest is not None:
            return self._image(digest, manifests[digest])
        wanted = reference.removeprefix("sha256:")
        if not re.fullmatch(r"[0-9a-f]{4,64}", wanted):
            return None
        found = [image for image in self.images() if image.id.startswith(f"sha256:{wanted}")]
        if len(found) > 1:
            raise ImageError(f"{len(found)} images have an id that begins with {reference}")
        return found[0] if found else None

    def digest(self, reference: str) -> str | None:
        """The digest of the manifest that a name stands for, as it is written after an ``@``."""
        return _manifest_named(reference, self._by_manifest())

    def manifest_of(self, identity: str) -> Descriptor:
        """A descriptor of the manifest of the image with this id."""
        for descriptor in self.layout.index():
            with contextlib.suppress(ImageError):
                if self.layout.config_digest(descriptor["digest"]) == identity:
                    return descriptor
        raise ImageError(f"no image {identity} in the store")

    def layer(self, diff_id: str) -> Layer | None:
        """The layer of this digest, if the store has it whole."""
        return self.layout.layer(diff_id)

    def needed_layer(self, diff_id: str) -> Layer:
        """`layer`; `ImageError` when it is not there."""
        found = self.layer(diff_id)
        if found is None:
            raise ImageError(f"the layer {diff_id[:19]} is gone from the store")
        return found

    def layers_of(self, image: Image) -> list[Layer]:
        """The layers of an image, lowest first; `ImageError` when one is gone."""
        return [self.needed_layer(diff_id) for diff_id in image.diff_ids]

    def size(self, image: Image) -> int:
        """Bytes of the image's layers as archives; a layer that several images share counts in each."""
        found = [self.layer(diff_id) for diff_id in image.diff_ids]
        return sum(layer.size for layer in found if layer is not None)

    def _image(self, manifest_digest: str, names: list[str]) -> Image:
        identity = self.layout.config_digest(manifest_digest)
        config = self.layout.blob(identity)
        try:
            diff_ids = config["rootfs"]["diff_ids"]
        except (KeyError, TypeError) as error:
            raise ImageError(f"the image {manifest_digest} is damaged: no {error}") from error
        settings.check(config, ", ".join(names) or identity)
        directories = []
        for diff_id in diff_ids:
            layer = self.layer(diff_id)
            if layer is None:
                raise ImageError(
                    f"the image {', '.join(names) or identity} has lost its layer {diff_id[:19]}",
                    hint="remove it and build or pull it again",
                )
            directories.append(layer.path)
        return Image(identity, names, config, directories)

    def _by_manifest(self) -> dict[str, list[str]]:
        """The names of every manifest by its digest."""
        found: dict[str, list[str]] = {}
        for descriptor in self.layout.index():
            names = found.setdefault(descriptor["digest"], [])
            if name := name_of(descriptor):
                names.append(name)
        return found


def _manifest_named(reference: str, manifests: dict[str, list[str]]) -> str | None:
    try:
        parsed = references.parse(reference)
    except ImageError:
        return None
    if parsed.digest:
        return parsed.digest if parsed.digest in manifests else None
    return next((digest for digest, names in manifests.items() if str(parsed) in names), None)


def _stamp(path: str) -> Stamp:
    """What tells a file from the one that replaced it; all zeros for none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)
