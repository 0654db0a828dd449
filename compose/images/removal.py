"""Removing images, and the layers and blobs that nothing names any more.

What keeps a layer: an image in the index, a container made of it or showing it (spec.json), the lease of a
living command, the build cache. An image or a container whose record is damaged may name any: as long as it
is there, every layer and blob stays. Whoever uses a `Removal` holds the store's lock.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from compose.errors import ImageError
from compose.images import reference as references
from compose.images import scratch
from compose.images.layout import name_of, read_json, with_name
from compose.runtime import records
from compose.runtime.spec import SPEC_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.images.catalogue import Catalogue
    from compose.images.layout import Descriptor
    from compose.runtime.spec import ContainerSpec
    from compose.state.paths import Paths


class Removal:
    """One command's removal of images."""

    def __init__(self, catalogue: Catalogue, paths: Paths, own_scratch: str) -> None:
        """What is removed of the store goes into `own_scratch`, whose removal takes longer than the lock may
        be held."""
        self._catalogue = catalogue
        self._layout = catalogue.layout
        self._root = catalogue.layout.root
        self._paths = paths
        self._scratch = own_scratch
        self.unsure = ""
        """Why no layer was removed, though some may have been to remove."""

    def remove(self, reference: str, *, force: bool) -> list[str]:
        """See `store.ImageStore.remove`."""
        descriptors = self._layout.index()
        gone = self._meant(descriptors, reference)
        if not gone:
            raise ImageError(f"no image {reference} in the store")
        kept = [item for item in descriptors if item not in gone]
        remaining = {item["digest"] for item in kept}
        for digest, item in {item["digest"]: item for item in gone}.items():
            user = "" if digest in remaining else self._user_of(digest)
            if user and not force:
                raise ImageError(f"the image {reference} is used by {user}")
            if user:
                kept.append(with_name(item, ""))
        self._layout.write_index(kept, self._scratch)
        return [*filter(None, map(name_of, gone)), *self._collect()]

    def prune(self, *, cache: bool) -> list[str]:
        """See `store.ImageStore.prune`."""
        kept = [item for item in self._layout.index() if name_of(item) or self._user_of(item["digest"])]
        self._layout.write_index(kept, self._scratch)
        if cache:
            for name in os.listdir(f"{self._root}/cache"):
                os.unlink(f"{self._root}/cache/{name}")
        return self._collect()

    def _meant(self, descriptors: list[Descriptor], reference: str) -> list[Descriptor]:
        """The descriptors that `reference` means: the one of a name, or all of one image, if it is an id."""
        with contextlib.suppress(ImageError):
            name = str(references.parse(reference))
            named = [item for item in descriptors if name_of(item) == name]
            if named:
                return named
        found = self._catalogue.find(reference)
        if found is None:
            return []
        digest = self._catalogue.manifest_of(found.id)["digest"]
        return [item for item in descriptors if item["digest"] == digest]

    def _user_of(self, manifest_digest: str) -> str:
        """Which container was made from this image, or may have been; empty when there is none."""
        try:
            identity = self._layout.config_digest(manifest_digest)
        except ImageError:
            return ""
        for directory, spec in self._container_specs():
            if spec is None:
                return f"a container, or may be: {directory}/{SPEC_FILE} is damaged"
            if identity in (spec.get("image"), *(mount.get("image") for mount in _image_mounts(spec))):
                return f"container {spec['name']}"
        return ""

    def _container_specs(self) -> Iterator[tuple[str, ContainerSpec | None]]:
        """The directory of every container, and its spec; None where that is damaged."""
        try:
            identities = os.listdir(self._paths.containers)
        except FileNotFoundError:
            return
        for identity in identities:
            if not records.is_half_made(self._paths, identity):
                yield self._paths.container(identity), records.find_spec(self._paths, identity)

    def _collect(self) -> list[str]:
        """Remove blobs and layers that nothing names; what went."""
        try:
            blobs, layers = self._named_by_images()
            layers |= self._named_by_containers() | self._named_by_cache()
        except ImageError as error:
            self.unsure = f"no layer is removed: {error.message}"
            return []
        layers |= scratch.leased(f"{self._root}/scratch")
        removed = []
        for digits in os.listdir(f"{self._root}/layers"):
            if f"sha256:{digits}" not in layers:
                os.rename(f"{self._root}/layers/{digits}", f"{self._scratch}/layer-{digits}")
                removed.append(f"sha256:{digits}")
        for digits in os.listdir(f"{self._root}/blobs/sha256"):
            if f"sha256:{digits}" not in blobs:
                os.unlink(f"{self._root}/blobs/sha256/{digits}")
        return removed

    def _named_by_images(self) -> tuple[set[str], set[str]]:
        """Digests of blobs, and those of layers; raises `ImageError` for an image that cannot be read."""
        blobs: set[str] = set()
        layers: set[str] = set()
        for descriptor in self._layout.index():
            blobs.add(descriptor["digest"])
            try:
                identity = self._layout.config_digest(descriptor["digest"])
                blobs.add(identity)
                layers.update(self._layout.blob(identity)["rootfs"]["diff_ids"])
            except (ImageError, KeyError, TypeError) as error:
                name = name_of(descriptor) or descriptor["digest"][:19]
                raise ImageError(f"image {name} may need any, it is damaged: {error}") from None
        return blobs, layers

    def _named_by_containers(self) -> set[str]:
        """Digests of layers; raises `ImageError` where a record is damaged."""
        layers: list[str] = []
        for directory, spec in self._container_specs():
            if spec is None:
                raise ImageError(f"a container may need any, its {directory}/{SPEC_FILE} is damaged")
            layers += (spec.get("rootfs") or {}).get("lower") or []
            for mount in _image_mounts(spec):
                layers += mount["layers"]
        return {f"sha256:{os.path.basename(os.path.dirname(path))}" for path in layers}

    def _named_by_cache(self) -> set[str]:
        """Layers of build steps that belong to no image: stages, failed builds."""
        found = set()
        for name in os.listdir(f"{self._root}/cache"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                record = read_json(f"{self._root}/cache/{name}")
                if record["layer"]:
                    found.add(record["layer"])
        return found


def _image_mounts(spec: ContainerSpec) -> list[Any]:
    """The mounts of a container that show other images."""
    return [mount for mount in spec["oci"].get("mounts") or () if "layers" in mount]
