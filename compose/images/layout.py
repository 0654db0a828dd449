"""The image store on disk: an OCI layout, and one directory a layer.

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
  living command names it. Whoever uses layers before a container's spec.json is written holds a
  `session.Session`.
* A session sweeps the scratch of dead commands when it begins: renamed into its own under the lock, removed
  after.
* Digests are checked whenever a blob is read; layer directories are not read again, they are 0700 and ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.errors import ImageError
from compose.state.files import sync_directory
from compose.state.lock import file_lock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_NAME = "org.opencontainers.image.ref.name"
_HEX = re.compile(r"[0-9a-f]{64}")
_MAX_JSON = 8 << 20


Descriptor = dict[str, Any]
"""An OCI descriptor: of an image's manifest, with its name among the annotations."""


class Layer(NamedTuple):
    """A layer in the store."""

    diff_id: str
    """``sha256:`` and the digest of its tar stream."""
    size: int
    """Bytes of that stream."""
    path: str
    """The directory that it is unpacked in."""


class Layout:
    """The files below `root`, each read and written as a whole. Every digest is ``sha256:`` and 64 digits."""

    def __init__(self, root: str) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the directories and an empty index, unless they are there."""
        if os.path.exists(f"{self.root}/index.json"):
            return
        os.makedirs(self.root, mode=0o700, exist_ok=True)
        for name in ("blobs", "blobs/sha256", "layers", "cache", "empty", "scratch"):
            os.makedirs(f"{self.root}/{name}", mode=0o700, exist_ok=True)
        os.chmod(f"{self.root}/empty", 0o755)
        with self.locked():
            if not os.path.exists(f"{self.root}/index.json"):
                write_file(f"{self.root}/oci-layout", b'{"imageLayoutVersion": "1.0.0"}\n')
                self.write_index([], self.root)

    def locked(self) -> AbstractContextManager[None]:
        """Hold the store's lock, for moments."""
        return file_lock(f"{self.root}/lock")

    def index(self) -> list[Descriptor]:
        """The descriptors of all manifests; none before the store is prepared. Raises `ImageError`."""
        try:
            found: list[Descriptor] = read_json(f"{self.root}/index.json")["manifests"]
            for descriptor in found:
                digits_of(descriptor["digest"])
            return found
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise ImageError(
                f"the index of images is damaged: {error}",
                hint=f"remove {self.root}/index.json, build or pull again",
            ) from error

    def write_index(self, descriptors: list[Descriptor], directory: str) -> None:
        """Replace the index; the lock is held, `directory` is for the temporary file."""
        value = {"schemaVersion": 2, "manifests": descriptors}
        temporary = f"{directory}/index.json.new"
        write_file(temporary, json.dumps(value, indent=1).encode() + b"\n")
        os.rename(temporary, f"{self.root}/index.json")
        sync_directory(self.root)

    def blob(self, digest: str) -> Any:
        """The JSON document of this digest; `ImageError` where it is missing or damaged."""
        try:
            data = _read(f"{self.root}/blobs/sha256/{digits_of(digest)}")
            if hashlib.sha256(data).hexdigest() != digits_of(digest):
                raise ImageError(
                    f"the blob {digest[:19]} in the store is damaged", hint="remove the image, get it again"
                )
            return _parse(data)
        except OSError as error:
            raise ImageError(f"the store lacks the blob {digest[:19]}: {error.strerror}") from error
        except ValueError as error:
            raise ImageError(f"the blob {digest[:19]} is not JSON: {error}") from error

    def config_digest(self, manifest_digest: str) -> str:
        """The digest of an image's config, which is the image's id; raises as `blob` does."""
        manifest = self.blob(manifest_digest)
        try:
            return str(manifest["config"]["digest"])
        except (KeyError, TypeError) as error:
            raise ImageError(f"the image {manifest_digest} is damaged: no {error}") from error

    def layer(self, diff_id: str) -> Layer | None:
        """The layer of this digest, if the store has it whole."""
        digits = digits_of(diff_id)
        try:
            record = read_json(f"{self.root}/layers/{digits}/layer.json")
            if record["diff_id"] == diff_id:
                return Layer(diff_id, record["size"], f"{self.root}/layers/{digits}/tree")
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None


def digits_of(digest: str) -> str:
    """The hexadecimal part of a digest, which then is safe in a path; raises `ImageError`."""
    algorithm, _, digits = str(digest).partition(":")
    if algorithm != "sha256" or not _HEX.fullmatch(digits):
        raise ImageError(f"{str(digest)[:80]!r} is not a sha256 digest")
    return digits


def name_of(descriptor: Descriptor) -> str:
    """The name that a descriptor of the index gives to its image; empty when it gives none."""
    return str((descriptor.get("annotations") or {}).get(_NAME) or "")


def with_name(descriptor: Descriptor, name: str) -> Descriptor:
    """The descriptor of the same manifest under this name, or under none."""
    plain = {key: value for key, value in descriptor.items() if key != "annotations"}
    return {**plain, "annotations": {_NAME: name}} if name else plain


def read_json(path: str) -> Any:
    """The JSON value in the file `path`, of 8 MiB at most; raises `OSError` or `ValueError`."""
    return _parse(_read(path))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(_MAX_JSON + 1)
    if len(data) > _MAX_JSON:
        raise ValueError(f"{path} is larger than {_MAX_JSON} bytes")
    return data


def _parse(data: bytes) -> Any:
    return json.loads(data.decode("utf-8", "surrogateescape"))


def write_file(path: str, data: bytes) -> None:
    """Write and sync a file that nobody looks at before it is renamed."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
