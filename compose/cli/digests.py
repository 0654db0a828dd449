"""Images named by what they are rather than by a tag that moves: `config --resolve-image-digests`."""

from __future__ import annotations

from compose.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from compose.images.store import ImageStore
    from compose.state.paths import Paths


def pin(services: Mapping[str, Any], where: Callable[[str], object], paths: Paths) -> None:
    """Give the image of every service its digest, as the local store has it; ImageError where it has none.

    `where` says for a service's name where its image stands in the files.
    """
    from compose.images.store import ImageStore

    store = ImageStore(paths)
    for name, service in services.items():
        if not service.get("image"):
            continue
        try:
            service["image"] = _pinned(service["image"], store)
        except ImageError as error:
            hint = f"run 'pycompose build {name}' first" if service.get("build") else error.hint
            raise ImageError(f"{where(name)}services.{name}.image: {error.message}", hint=hint) from None


def only_images(services: Mapping[str, Any]) -> dict[str, Any]:
    """The document of an override file that holds nothing but the images."""
    kept = {name: {key: one[key] for key in ("image",) if key in one} for name, one in services.items()}
    return {"services": kept}


def _pinned(image: str, store: ImageStore) -> str:
    from compose.images import reference as references

    parsed = references.parse(image)
    if parsed.digest:
        return str(parsed._replace(tag=""))
    digest = store.digest(image)
    if digest is None:
        raise ImageError(
            f"{parsed.familiar} has no digest: it is not in the local store, and registries are not asked yet"
        )
    return str(parsed._replace(digest=digest))
