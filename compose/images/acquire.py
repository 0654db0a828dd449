"""Images that are not in the store yet: where they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ImageError
from compose.images import bootstrap as bootstraps
from compose.images import reference as references

if TYPE_CHECKING:
    from compose.images.store import Image, ImageStore, Progress


def acquire(store: ImageStore, reference: str, progress: Progress) -> Image:
    """Make the image `reference` by a bootstrap of the distribution, and store it under that name.

    Raises `ImageError` for a name that is no distribution's: registries are not asked yet.
    """
    name = references.parse(reference)
    if not bootstraps.known(str(name)):
        raise ImageError(
            f"the image {name.familiar} is not in the store",
            hint="build it from a Dockerfile: registries are not asked yet, and only debian:bookworm and"
            " debian:trixie can be made from packages",
        )
    with store.session() as session:
        directory = session.directory()
        cache = f"{store.paths.cache}/packages"
        made = bootstraps.bootstrap(str(name), f"{directory}/layer/tree", progress=progress, cache=cache)
        progress(name.familiar, "storing", None)
        layer = session.add_layer(directory)
        return session.add_image(made.config, [layer], [reference])
