"""Whether the image of a service is of the platform that it names, and can be run here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ContainerError, ImageError
from compose.images import platforms

if TYPE_CHECKING:
    from .context import Context

_HINT = "register one: apt install qemu-user-static binfmt-support"


def check(context: Context, name: str) -> None:
    """Raise `ContainerError` for an image that is not of the service's ``platform``, or cannot be run here.

    Where no platform is named, an image that cannot be run is only warned of: what it says may be wrong.
    """
    assert context.project is not None
    wanted = context.wanted(name)
    asked = str(wanted.config.get("platform") or "")
    image = context.images.find(wanted.image)
    if image is None:
        return
    found = platforms.of_image(image.config)
    at = f"{context.project.where(('services', name, 'platform'))}: service {name}"
    try:
        if asked and platforms.parse(asked) != found:
            raise ContainerError(
                f"{at}: platform: image {wanted.image} is for {found}, not for {asked}",
                hint=f"write 'platform: {found}', or remove the image and get the other one",
            )
    except ImageError as error:
        raise ContainerError(f"{at}: platform: {error.message}", hint=error.hint) from None
    why_not = platforms.why_not(found)
    if why_not and asked:
        raise ContainerError(f"{at}: platform: {why_not}", hint=_HINT)
    if why_not:
        context.warn(f"{at}: image {wanted.image} is for {found}: {why_not}; {_HINT}")
