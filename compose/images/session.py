"""One command's work on the image store: scratch, leases on layers, new layers and images."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from compose.errors import ImageError
from compose.images import reference as references
from compose.images.layout import digits_of, name_of, with_name, write_file
from compose.linux.files import syncfs
from compose.state.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from compose.images.catalogue import Catalogue, Image
    from compose.images.layers import Measure
    from compose.images.layout import Descriptor, Layer

_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


class Session:
    """One command's scratch directory, `path`, and the layers that it uses."""

    def __init__(self, catalogue: Catalogue, path: str) -> None:
        self.path = path
        self._catalogue = catalogue
        self._layout = catalogue.layout
        self._count = 0
        self._leased: set[str] = set()

    def directory(self) -> str:
        """A new directory in scratch with ``layer/tree`` (a layer to be) and ``work`` (for overlayfs)."""
        self._count += 1
        path = f"{self.path}/{self._count}"
        os.mkdir(path, 0o700)
        os.mkdir(f"{path}/layer", 0o700)
        os.mkdir(f"{path}/layer/tree", 0o755)
        os.mkdir(f"{path}/work", 0o700)
        return path

    def lease(self, diff_ids: Collection[str]) -> bool:
        """Keep these layers for as long as the session lasts; false if one is not there any more."""
        with self._layout.locked():
            return self._lease(diff_ids)

    def _lease(self, diff_ids: Collection[str]) -> bool:
        if any(self._layout.layer(diff_id) is None for diff_id in diff_ids):
            return False
        new = [diff_id for diff_id in diff_ids if diff_id not in self._leased]
        if new:
            with open(f"{self.path}/lease", "a", encoding="ascii") as file:
                file.write("".join(f"{diff_id}\n" for diff_id in new))
            self._leased.update(new)
        return True

    def find(self, reference: str) -> Image | None:
        """`Catalogue.find`, with the image's layers leased."""
        with self._layout.locked():
            image = self._catalogue.find(reference)
            return image if image is not None and self._lease(image.diff_ids) else None

    def add_layer(self, directory: str) -> Layer:
        """Put the tree in `directory` (of `Session.directory`) into the store, by renaming; leased."""
        from compose.images import layers  # it loads the decompressors, and most commands only look images up

        tree = f"{directory}/layer/tree"
        descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            layers.seal(descriptor)
            found = layers.measure(descriptor)
            known = self._layout.layer(found.diff_id) if self.lease([found.diff_id]) else None
            if known is not None:
                return known
            return self._publish(directory, found, descriptor)
        finally:
            os.close(descriptor)

    def _publish(self, directory: str, found: Measure, descriptor: int) -> Layer:
        digits = digits_of(found.diff_id)
        root = self._layout.root
        record = {"diff_id": found.diff_id, "size": found.size}
        write_file(f"{directory}/layer/layer.json", json.dumps(record).encode() + b"\n")
        syncfs(descriptor)
        with self._layout.locked():
            if not self._lease([found.diff_id]):
                if os.path.lexists(f"{root}/layers/{digits}"):  # damaged, or another's unfinished removal
                    os.rename(f"{root}/layers/{digits}", f"{directory}/damaged")
                os.rename(f"{directory}/layer", f"{root}/layers/{digits}")
                sync_directory(f"{root}/layers")
                self._lease([found.diff_id])
        layer = self._layout.layer(found.diff_id)
        if layer is None:
            raise ImageError(f"the layer {found.diff_id[:19]} vanished from the store")
        return layer

    def add_image(self, config: dict[str, Any], layers: Sequence[Layer], names: Sequence[str]) -> Image:
        """Make an image of layers in the store; `config` is its OCI document but for rootfs."""
        config = {**config, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}
        config_data = json.dumps(config, ensure_ascii=False, sort_keys=True).encode(
            "utf-8", "surrogateescape"
        )
        with self._layout.locked():  # a removal between blob and index would take the blob away
            config_digest = self._add_blob(config_data)
            manifest = {
                "schemaVersion": 2,
                "mediaType": _MANIFEST_TYPE,
                "config": {"mediaType": _CONFIG_TYPE, "digest": config_digest, "size": len(config_data)},
                "layers": [
                    {"mediaType": _LAYER_TYPE, "digest": layer.diff_id, "size": layer.size}
                    for layer in layers
                ],
            }
            data = json.dumps(manifest).encode()
            self._add_names(
                {"mediaType": _MANIFEST_TYPE, "digest": self._add_blob(data), "size": len(data)}, names
            )
        image = self._catalogue.find(config_digest)
        if image is None:
            raise ImageError(f"the image {config_digest[:19]} vanished from the store")
        return image

    def _add_blob(self, data: bytes) -> str:
        """Put `data` into the store; its digest."""
        digits = hashlib.sha256(data).hexdigest()
        target = f"{self._layout.root}/blobs/sha256/{digits}"
        temporary = f"{self.path}/{digits}"
        write_file(temporary, data)
        os.rename(temporary, target)
        sync_directory(os.path.dirname(target))
        return f"sha256:{digits}"

    def add_names(self, descriptor: Descriptor, names: Sequence[str]) -> None:
        """Give the image of this manifest descriptor more names; what had them before loses them."""
        with self._layout.locked():
            self._add_names(descriptor, names)

    def _add_names(self, descriptor: Descriptor, names: Sequence[str]) -> None:
        full = [str(references.parse(name)) for name in names]
        kept = [
            with_name(item, "") if name_of(item) in full else item  # it goes on without a name
            for item in self._layout.index()
        ]
        added = [with_name(descriptor, name) for name in (*full, "")]
        self._layout.write_index(_tidy([*kept, *added]), self.path)


def _tidy(descriptors: list[Descriptor]) -> list[Descriptor]:
    """Each descriptor once, and one without a name only for an image that has none."""
    named = {item["digest"] for item in descriptors if name_of(item)}
    found: list[Descriptor] = []
    for item in descriptors:
        if item not in found and (name_of(item) or item["digest"] not in named):
            found.append(item)
    return found
