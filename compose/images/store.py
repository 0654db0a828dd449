"""The image store: an OCI layout, and one directory a layer.

    images/                             0700
      oci-layout                        {"imageLayoutVersion": "1.0.0"}
      index.json                        a descriptor a name (org.opencontainers.image.ref.name), and one
                                        without annotations for an image that has no name
      blobs/sha256/HEX                  manifests and configs; layer tars are not kept, their digests are
      layers/HEX/tree/                  a layer, unpacked once, whiteouts as overlayfs has them; HEX: diff id
      layers/HEX/layer.json             {"diff_id", "size" (of the tar stream)}
      cache/HEX.json                    build cache (build/cache.py): to remove it costs nothing but time
      empty/                            an empty directory: overlayfs wants two lower ones
      scratch/BOOT-PID-START-COUNT/     one command's work in progress, and its `lease` (scratch.py)
      lock

Rules
* Nothing is visible before it is whole. A blob is written in scratch, synced, renamed. A layer is made in
  scratch; then syncfs, rename, and the directory it went to is synced. The index is replaced by rename, last.
  A power cut leaves a layer or blob that no image names, which `prune` removes.
* `lock` (flock, exclusive) is held for moments only: to change the index, to take leases, to remove layers or
  dead scratch. Readers take no lock: a name found in the index leads to blobs that are whole, or an
  `ImageError` when they were removed meanwhile.
* A layer is removed when no image in the index, no container (spec.json, `rootfs.lower`) and no lease of a
  living command names it. Whoever uses layers before a container's spec.json is written holds a `Session`.
* A session sweeps the scratch of dead commands when it begins: renamed into its own under the lock, removed
  after.
* Digests are checked whenever a blob is read; layer directories are not read again, they are 0700 and ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from compose.errors import ImageError
from compose.images import reference as references
from compose.images import scratch, settings
from compose.linux.files import syncfs
from compose.state.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from compose.images.layers import Measure
    from compose.state.paths import Paths

    Progress = Callable[[str, str, float | None], None]

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_NAME = "org.opencontainers.image.ref.name"
_HEX = re.compile(r"[0-9a-f]{64}")
_MAX_JSON = 8 << 20


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


Stamp = tuple[int, int, int]


class Layer(NamedTuple):
    """A layer in the store."""

    diff_id: str
    size: int
    path: str


class ImageStore:
    """Images and layers below ``Paths.images``."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.root = paths.images
        self._found: dict[str, tuple[Stamp, Image | None]] = {}
        """What `find` said last of a name; good for as long as index.json is the same file."""

    # Reading

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
        stamp = _stamp(f"{self.root}/index.json")
        known = self._found.get(reference)
        if known is None or known[0] != stamp:
            known = self._found[reference] = (stamp, self._find(reference))
        return known[1]

    def _find(self, reference: str) -> Image | None:
        manifests = self._by_manifest()
        digest = self._digest(reference, manifests)
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
        return self._digest(reference, self._by_manifest())

    def _digest(self, reference: str, manifests: dict[str, list[str]]) -> str | None:
        try:
            parsed = references.parse(reference)
        except ImageError:
            return None
        if parsed.digest:
            return parsed.digest if parsed.digest in manifests else None
        return next((digest for digest, names in manifests.items() if str(parsed) in names), None)

    def layer(self, diff_id: str) -> Layer | None:
        """The layer of this digest, if the store has it whole."""
        digits = _digits(diff_id)
        try:
            record = _parse(_read(f"{self.root}/layers/{digits}/layer.json"))
            if record["diff_id"] == diff_id:
                return Layer(diff_id, record["size"], f"{self.root}/layers/{digits}/tree")
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def size(self, image: Image) -> int:
        """Bytes of the image's layers as archives; a layer that several images share counts in each."""
        found = [self.layer(diff_id) for diff_id in image.diff_ids]
        return sum(layer.size for layer in found if layer is not None)

    def _image(self, manifest_digest: str, names: list[str]) -> Image:
        manifest = self._blob(manifest_digest)
        try:
            identity = manifest["config"]["digest"]
            config = self._blob(identity)
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

    def _blob(self, digest: str) -> Any:
        try:
            data = _read(f"{self.root}/blobs/sha256/{_digits(digest)}")
        except OSError as error:
            raise ImageError(f"the store lacks the blob {digest[:19]}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != _digits(digest):
            raise ImageError(
                f"the blob {digest[:19]} in the store is damaged", hint="remove the image, get it again"
            )
        try:
            return _parse(data)
        except ValueError as error:
            raise ImageError(f"the blob {digest[:19]} is not JSON: {error}") from error

    def _index(self) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = _parse(_read(f"{self.root}/index.json"))["manifests"]
            for descriptor in found:
                _digits(descriptor["digest"])
            return found
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ImageError(
                f"the index of images is damaged: {error}",
                hint=f"remove {self.root}/index.json, build or pull again",
            ) from error

    def _by_manifest(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for descriptor in self._index():
            names = found.setdefault(descriptor["digest"], [])
            name = (descriptor.get("annotations") or {}).get(_NAME)
            if name:
                names.append(name)
        return found

    # Changing

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Scratch and leases of one command; gone when the block ends, however it ends."""
        self._prepare()
        path = f"{self.root}/scratch/{scratch.new_name()}"
        os.mkdir(path, 0o700)
        try:
            self._sweep(path)
            yield Session(self, path)
        finally:
            scratch.remove(path)

    def _prepare(self) -> None:
        if os.path.exists(f"{self.root}/index.json"):
            return
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        for name in ("blobs", "blobs/sha256", "layers", "cache", "empty", "scratch"):
            os.makedirs(f"{self.root}/{name}", mode=0o700, exist_ok=True)
        os.chmod(f"{self.root}/empty", 0o755)
        with self.locked():
            if not os.path.exists(f"{self.root}/index.json"):
                _write_file(f"{self.root}/oci-layout", b'{"imageLayoutVersion": "1.0.0"}\n')
                self._write_index([], self.root)

    def _sweep(self, own: str) -> None:
        directory = f"{self.root}/scratch"
        if not scratch.dead(directory):
            return
        with self.locked():
            for number, name in enumerate(scratch.dead(directory)):
                os.rename(f"{directory}/{name}", f"{own}/dead-{number}")
        for name in os.listdir(own):
            scratch.remove(f"{own}/{name}")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store's lock, for moments."""
        descriptor = os.open(f"{self.root}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write_index(self, descriptors: list[dict[str, Any]], directory: str) -> None:
        """Replace the index; the lock is held, `directory` is for the temporary file."""
        value = {"schemaVersion": 2, "manifests": descriptors}
        temporary = f"{directory}/index.json.new"
        _write_file(temporary, json.dumps(value, indent=1).encode() + b"\n")
        os.rename(temporary, f"{self.root}/index.json")
        sync_directory(self.root)

    def tag(self, image: str, name: str) -> None:
        """Give the image (name or id) another name; what had it before loses it."""
        found = self.find(image)
        if found is None:
            raise ImageError(f"no image {image} in the store")
        with self.session() as session:
            session.set_names(self._manifest_of(found.id), [name])

    def _manifest_of(self, identity: str) -> dict[str, Any]:
        for descriptor in self._index():
            with contextlib.suppress(ImageError, KeyError, TypeError):
                if self._blob(descriptor["digest"])["config"]["digest"] == identity:
                    return descriptor
        raise ImageError(f"no image {identity} in the store")

    def remove(self, reference: str, *, force: bool = False) -> list[str]:
        """Remove a name, and with its last name the image; what went, one word or digest each.

        An image that a container uses keeps its layers and is an `ImageError`; `force` takes only its names
        away.
        """
        removed: list[str] = []
        with self.session() as session:
            with self.locked():
                descriptors = self._index()
                kept, gone = self._without(descriptors, reference)
                if not gone:
                    raise ImageError(f"no image {reference} in the store")
                digests = {item["digest"] for item in gone} - {item["digest"] for item in kept}
                for digest in digests:
                    user = self._user_of(digest)
                    if user and not force:
                        raise ImageError(f"the image {reference} is used by container {user}")
                    if user:
                        kept.append(_descriptor_without_name(gone, digest))
                self._write_index(kept, session.path)
                removed += [item["annotations"][_NAME] for item in gone if item.get("annotations")]
                removed += self._collect(session.path)
        return removed

    def prune(self, *, cache: bool = False) -> list[str]:
        """Remove images without a name and layers that nothing names; with `cache` the build cache too."""
        with self.session() as session, self.locked():
            named = [
                item for item in self._index() if item.get("annotations") or self._user_of(item["digest"])
            ]
            self._write_index(named, session.path)
            if cache:
                for name in os.listdir(f"{self.root}/cache"):
                    os.unlink(f"{self.root}/cache/{name}")
            return self._collect(session.path)

    def _without(
        self, descriptors: list[dict[str, Any]], reference: str
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The descriptors that stay and those that `reference` names (all of one image, if it is an id)."""
        with contextlib.suppress(ImageError):
            name = str(references.parse(reference))
            gone = [item for item in descriptors if (item.get("annotations") or {}).get(_NAME) == name]
            if gone:
                kept = [item for item in descriptors if item not in gone]
                return kept, gone
        found = self.find(reference)
        if found is None:
            return descriptors, []
        digest = self._manifest_of(found.id)["digest"]
        return (
            [item for item in descriptors if item["digest"] != digest],
            [item for item in descriptors if item["digest"] == digest],
        )

    def _user_of(self, manifest_digest: str) -> str:
        """The name of a container that was made from this image; empty when there is none."""
        try:
            identity = self._blob(manifest_digest)["config"]["digest"]
        except (ImageError, KeyError, TypeError):
            return ""
        for spec in self._container_specs():
            if identity in (spec.get("image"), *(mount.get("image") for mount in _image_mounts(spec))):
                return str(spec.get("name") or spec.get("id"))
        return ""

    def _container_specs(self) -> Iterator[dict[str, Any]]:
        try:
            names = os.listdir(self.paths.containers)
        except FileNotFoundError:
            return
        for name in names:
            with contextlib.suppress(OSError, ValueError):
                spec = _parse(_read(f"{self.paths.containers}/{name}/spec.json"))
                if isinstance(spec, dict):
                    yield spec

    def _collect(self, own_scratch: str) -> list[str]:
        """Remove blobs and layers that nothing names; the lock is held. What went.

        Build steps without an image (stages, failed builds) are held by the build cache.
        """
        blobs, layers = self._reachable()
        removed = []
        for digits in os.listdir(f"{self.root}/layers"):
            if f"sha256:{digits}" not in layers:
                os.rename(f"{self.root}/layers/{digits}", f"{own_scratch}/layer-{digits}")
                removed.append(f"sha256:{digits}")
        for digits in os.listdir(f"{self.root}/blobs/sha256"):
            if f"sha256:{digits}" not in blobs:
                os.unlink(f"{self.root}/blobs/sha256/{digits}")
        return removed

    def _reachable(self) -> tuple[set[str], set[str]]:
        blobs: set[str] = set()
        layers = scratch.leased(f"{self.root}/scratch") | self._cached_layers()
        for descriptor in self._index():
            blobs.add(descriptor["digest"])
            with contextlib.suppress(ImageError, KeyError, TypeError):
                identity = self._blob(descriptor["digest"])["config"]["digest"]
                blobs.add(identity)
                layers.update(self._blob(identity)["rootfs"]["diff_ids"])
        for spec in self._container_specs():
            for path in (spec.get("rootfs") or {}).get("lower") or []:
                layers.add("sha256:" + os.path.basename(os.path.dirname(path)))
            for mount in _image_mounts(spec):
                layers.update("sha256:" + os.path.basename(os.path.dirname(path)) for path in mount["layers"])
        return blobs, layers

    def _cached_layers(self) -> set[str]:
        """Layers of build steps that belong to no image: what the cache alone keeps."""
        found = set()
        for name in os.listdir(f"{self.root}/cache"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                record = _parse(_read(f"{self.root}/cache/{name}"))
                if record["layer"]:
                    found.add(record["layer"])
        return found

    def ensure(self, reference: str, progress: Progress) -> Image:
        """The image of this name: from the store, or bootstrapped when it is a distribution we know."""
        found = self.find(reference)
        if found is not None:
            return found
        from compose.images.acquire import acquire

        return acquire(self, reference, progress)

    def copy_content(self, image: Image, path: str, destination: str) -> bool:
        """Copy what `image` has in the directory `path` into the directory `destination`; see `content`."""
        from compose.images.content import copy_content

        return copy_content(self, image, path, destination)


class Session:
    """One command's scratch directory and the layers that it uses."""

    def __init__(self, store: ImageStore, path: str) -> None:
        self.store = store
        self.path = path
        self._count = 0
        self._leased: set[str] = set()

    def directory(self) -> str:
        """A new, empty directory in scratch with ``tree`` (a layer to be), and ``work`` for overlayfs."""
        self._count += 1
        path = f"{self.path}/{self._count}"
        os.mkdir(path, 0o700)
        os.mkdir(f"{path}/layer", 0o700)
        os.mkdir(f"{path}/layer/tree", 0o755)
        os.mkdir(f"{path}/work", 0o700)
        return path

    def lease(self, diff_ids: Collection[str]) -> bool:
        """Keep these layers for as long as the session lasts; false if one is not there any more."""
        with self.store.locked():
            return self._lease(diff_ids)

    def _lease(self, diff_ids: Collection[str]) -> bool:
        if any(self.store.layer(diff_id) is None for diff_id in diff_ids):
            return False
        new = [diff_id for diff_id in diff_ids if diff_id not in self._leased]
        if new:
            with open(f"{self.path}/lease", "a", encoding="ascii") as file:
                file.write("".join(f"{diff_id}\n" for diff_id in new))
            self._leased.update(new)
        return True

    def find(self, reference: str) -> Image | None:
        """`ImageStore.find`, with the image's layers leased."""
        with self.store.locked():
            image = self.store.find(reference)
            return image if image is not None and self._lease(image.diff_ids) else None

    def add_layer(self, directory: str) -> Layer:
        """Put the tree in `directory` (of `Session.directory`) into the store, by renaming; leased."""
        from compose.images import layers  # it loads the decompressors, and most commands only look images up

        tree = f"{directory}/layer/tree"
        descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            layers.seal(descriptor)
            found = layers.measure(descriptor)
            known = self.store.layer(found.diff_id) if self.lease([found.diff_id]) else None
            if known is not None:
                return known
            return self._publish(directory, found, descriptor)
        finally:
            os.close(descriptor)

    def _publish(self, directory: str, found: Measure, descriptor: int) -> Layer:
        digits = _digits(found.diff_id)
        root = self.store.root
        record = {"diff_id": found.diff_id, "size": found.size}
        _write_file(f"{directory}/layer/layer.json", json.dumps(record).encode() + b"\n")
        syncfs(descriptor)
        with self.store.locked():
            if not self._lease([found.diff_id]):
                if os.path.lexists(f"{root}/layers/{digits}"):  # damaged, or another's unfinished removal
                    os.rename(f"{root}/layers/{digits}", f"{directory}/damaged")
                os.rename(f"{directory}/layer", f"{root}/layers/{digits}")
                sync_directory(f"{root}/layers")
                self._lease([found.diff_id])
        layer = self.store.layer(found.diff_id)
        if layer is None:
            raise ImageError(f"the layer {found.diff_id[:19]} vanished from the store")
        return layer

    def add_blob(self, data: bytes) -> str:
        """Put `data` into the store; its digest."""
        digits = hashlib.sha256(data).hexdigest()
        target = f"{self.store.root}/blobs/sha256/{digits}"
        temporary = f"{self.path}/{digits}"
        _write_file(temporary, data)
        os.rename(temporary, target)
        sync_directory(os.path.dirname(target))
        return f"sha256:{digits}"

    def add_image(self, config: dict[str, Any], layers: Sequence[Layer], names: Sequence[str]) -> Image:
        """Make an image of layers in the store; `config` is its OCI document but for rootfs."""
        config = {**config, "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]}}
        config_data = json.dumps(config, ensure_ascii=False, sort_keys=True).encode(
            "utf-8", "surrogateescape"
        )
        with self.store.locked():  # a removal between blob and index would take the blob away
            config_digest = self.add_blob(config_data)
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": CONFIG_TYPE, "digest": config_digest, "size": len(config_data)},
                "layers": [
                    {"mediaType": LAYER_TYPE, "digest": layer.diff_id, "size": layer.size} for layer in layers
                ],
            }
            data = json.dumps(manifest).encode()
            descriptor = {"mediaType": MANIFEST_TYPE, "digest": self.add_blob(data), "size": len(data)}
            self._set_names(descriptor, names)
        image = self.store.find(config_digest)
        if image is None:
            raise ImageError(f"the image {config_digest[:19]} vanished from the store")
        return image

    def set_names(self, descriptor: dict[str, Any], names: Sequence[str]) -> None:
        """Give the image of this manifest descriptor more names."""
        with self.store.locked():
            self._set_names(descriptor, names)

    def _set_names(self, descriptor: dict[str, Any], names: Sequence[str]) -> None:
        plain = {key: value for key, value in descriptor.items() if key != "annotations"}
        full = [str(references.parse(name)) for name in names]
        kept = []
        for item in self.store._index():
            if (item.get("annotations") or {}).get(_NAME) in full:
                del item["annotations"]  # it goes on without a name
            kept.append(item)
        kept += [{**plain, "annotations": {_NAME: name}} for name in full]
        kept.append(plain)
        self.store._write_index(_tidy(kept), self.path)


def _image_mounts(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The mounts of a container that show other images."""
    return [mount for mount in (spec.get("oci") or {}).get("mounts") or () if "layers" in mount]


def _tidy(descriptors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each descriptor once, and one without a name only for an image that has none."""
    named = {item["digest"] for item in descriptors if item.get("annotations")}
    found: list[dict[str, Any]] = []
    for item in descriptors:
        if item not in found and (item.get("annotations") or item["digest"] not in named):
            found.append(item)
    return found


def _descriptor_without_name(descriptors: list[dict[str, Any]], digest: str) -> dict[str, Any]:
    found = next(item for item in descriptors if item["digest"] == digest)
    return {key: value for key, value in found.items() if key != "annotations"}


def _digits(digest: str) -> str:
    """The hexadecimal part of a digest, which then is safe in a path; raises `ImageError`."""
    algorithm, _, digits = str(digest).partition(":")
    if algorithm != "sha256" or not _HEX.fullmatch(digits):
        raise ImageError(f"{str(digest)[:80]!r} is not a sha256 digest")
    return digits


def _stamp(path: str) -> Stamp:
    """What tells a file from the one that replaced it; all zeros for none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(path: str) -> bytes:
    file: IO[bytes]
    with open(path, "rb") as file:
        data = file.read(_MAX_JSON + 1)
    if len(data) > _MAX_JSON:
        raise ValueError(f"{path} is larger than {_MAX_JSON} bytes")
    return data


def _parse(data: bytes) -> Any:
    return json.loads(data.decode("utf-8", "surrogateescape"))


def _write_file(path: str, data: bytes) -> None:
    """Write and sync a file that nobody looks at before it is renamed."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
