"""Images that may not be in the store yet: where they come from."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from compose.errors import ImageError
from compose.images import bootstrap as bootstraps
from compose.images import reference as references
from compose.state.lock import file_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from compose.images.bootstrap.request import Progress
    from compose.images.catalogue import Image
    from compose.images.store import ImageStore
    from compose.state.paths import Paths


def acquire(store: ImageStore, reference: str, progress: Progress, *, renew: bool = False) -> Image:
    """The image `reference`: from the store, or made by a bootstrap of the distribution and stored under that
    name; with `renew` made even if it is there.

    Whoever asks for an image that somebody else is making waits for it. Raises `ImageError` for a name that
    is no distribution's: registries are not asked yet.
    """
    known = None if renew else store.find(reference)
    if known is not None:
        return known
    name = references.parse(reference)
    if not bootstraps.known(str(name)):
        raise ImageError(
            f"the image {name.familiar} is not in the store",
            hint="build it from a Dockerfile: registries are not asked yet, and only debian:bookworm and"
            " debian:trixie can be made from packages",
        )
    with _only_one(
        store.paths, str(name), lambda: progress(name.familiar, "waiting for another command", None)
    ):
        found = None if renew else store.find(reference)
        return found or _make(store, reference, progress)


def _make(store: ImageStore, reference: str, progress: Progress) -> Image:
    name = references.parse(reference)
    with store.session() as session:
        directory = session.directory()
        cache = f"{store.paths.cache}/packages"
        made = bootstraps.bootstrap(str(name), f"{directory}/layer/tree", progress=progress, cache=cache)
        progress(name.familiar, "storing", None)
        layer = session.add_layer(directory)
        return session.add_image(made.config, [layer], [reference])


def _only_one(paths: Paths, name: str, waiting: Callable[[], None]) -> AbstractContextManager[None]:
    """Hold the lock of one image's name; calls `waiting` once if somebody else has it."""
    os.makedirs(paths.locks, mode=0o700, exist_ok=True)
    return file_lock(f"{paths.locks}/image-{hashlib.sha256(name.encode()).hexdigest()[:32]}", waiting)
