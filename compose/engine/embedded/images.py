"""Building and fetching images, in worker threads.

An interrupt does not wait for them: a build step or a download ends with this process, and what was finished
before it stays in the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ImageError

from .threads import in_thread

if TYPE_CHECKING:
    from compose.plan.actions import BuildImage, FetchImage

    from .context import Context


async def fetch(context: Context, action: FetchImage) -> None:
    """Get an image that is not in the store, or anew."""
    from compose.images.acquire import acquire

    def work() -> None:
        acquire(context.images, action.target, context.detail, renew=action.renew)

    await in_thread(work, abandon=True)


async def remove(context: Context, name: str) -> None:
    """Take a name away from an image, and remove the image when that was its last one.

    One that a container of another project uses is kept, which is no failure.
    """
    try:
        await in_thread(lambda: context.images.remove(name, warn=context.warn))
    except ImageError as error:
        context.warn(f"{error.message}; it is kept")


async def build(context: Context, action: BuildImage) -> None:
    """Build the image of a service."""
    from compose.images.build import BuildRequest
    from compose.images.build import build as run

    project = context.project
    assert project is not None
    section = project.services[action.service]["build"]
    request = BuildRequest(
        context=section["context"],
        dockerfile=section.get("dockerfile"),
        dockerfile_inline=section.get("dockerfile_inline"),
        args={key: value for key, value in (section.get("args") or {}).items() if value is not None},
        target=section.get("target"),
        labels=dict(section.get("labels") or {}),
        tags=(action.target, *(section.get("tags") or ())),
        no_cache=bool(section.get("no_cache")) or context.no_cache,
        pull=bool(section.get("pull")),
    )

    def detail(what: str, status: str, fraction: float | None) -> None:
        context.detail(action.target, status, fraction)

    def work() -> None:
        run(request, context.images, detail)

    await in_thread(work, abandon=True)
