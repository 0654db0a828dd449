"""Removing images, and the layers and blobs that nothing names any more.

What keeps a layer: an image in the index, a container made of it or showing it (spec.json), the lease of a
living command, the build cache. Whoever uses a `Removal` holds the store's lock.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from compose.errors import ImageError
from compose.images import reference as references
from compose.images import scratch
from compose.images.layout import name_of, read_json, with_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.images.catalogue import Catalogue
    from compose.images.layout import Descriptor


class Removal:
    """One command's removal of images."""

    def __init__(self, catalogue: Catalogue, containers: str, own_scratch: str) -> None:
        """`containers` is the directory of the containers' records; what is removed of the store goes into
        `own_scratch`, whose removal takes longer than the lock may be held."""
        self._catalogue = catalogue
        self._layout = catalogue.layout
        self._root = catalogue.layout.root
        self._containers = containers
        self._scratch = own_scratch

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
                raise ImageError(f"the image {reference} is used by container {user}")
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
        """The name of a container that was made from this image; empty when there is none."""
        try:
            identity = self._layout.config_digest(manifest_digest)
        except ImageError:
            return ""
        for spec in self._container_specs():
            if identity in (spec.get("image"), *(mount.get("image") for mount in _image_mounts(spec))):
                return str(spec.get("name") or spec.get("id"))
        return ""

    def _container_specs(self) -> Iterator[dict[str, Any]]:
        try:
            names = os.listdir(self._containers)
        except FileNotFoundError:
            return
        for name in names:
            with contextlib.suppress(OSError, ValueError):
                spec = read_json(f"{self._containers}/{name}/spec.json")
                if isinstance(spec, dict):
                    yield spec

    def _collect(self) -> list[str]:
        """Remove blobs and layers that nothing names; what went."""
        blobs, layers = self._named_by_images()
        layers |= self._named_by_containers() | self._named_by_cache()
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
        """Digests of blobs, and those of layers; of a damaged image, as many as can be read."""
        blobs: set[str] = set()
        layers: set[str] = set()
        for descriptor in self._layout.index():
            blobs.add(descriptor["digest"])
            with contextlib.suppress(ImageError, KeyError, TypeError):
                identity = self._layout.config_digest(descriptor["digest"])
                blobs.add(identity)
                layers.update(self._layout.blob(identity)["rootfs"]["diff_ids"])
        return blobs, layers

    def _named_by_containers(self) -> set[str]:
        directories: list[str] = []
        for spec in self._container_specs():
            directories += (spec.get("rootfs") or {}).get("lower") or []
            for mount in _image_mounts(spec):
                directories += mount["layers"]
        return {f"sha256:{os.path.basename(os.path.dirname(path))}" for path in directories}

    def _named_by_cache(self) -> set[str]:
        """Layers of build steps that belong to no image: stages, failed builds."""
        found = set()
        for name in os.listdir(f"{self._root}/cache"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                record = read_json(f"{self._root}/cache/{name}")
                if record["layer"]:
                    found.add(record["layer"])
        return found


def _image_mounts(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The mounts of a container that show other images."""
    return [mount for mount in (spec.get("oci") or {}).get("mounts") or () if "layers" in mount]
