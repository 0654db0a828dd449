"""Images named by what they are rather than by a tag that moves: `config --resolve-image-digests`."""

from __future__ import annotations

from compose.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.model import Project
    from compose.state.paths import Paths


def pin(project: Project, paths: Paths) -> None:
    """Give the image of every service its digest, as the local store has it; ImageError where it has none."""
    from compose.images import reference as references
    from compose.images.store import ImageStore

    store = ImageStore(paths)
    for name, service in project.services.items():
        image = service.get("image")
        if not image:
            continue
        parsed = references.parse(image)
        if parsed.digest:
            continue
        digest = store.digest(image)
        if digest is None:
            at = project.where(("services", name, "image"))
            raise ImageError(
                f"{at}: services.{name}.image: {parsed.familiar} has no digest: it is not in the local "
                "store, and registries are not asked yet",
                hint=f"run 'pycompose build {name}' first" if service.get("build") else None,
            )
        service["image"] = str(parsed._replace(digest=digest))
