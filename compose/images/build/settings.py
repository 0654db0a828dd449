"""A stage of which only the settings are changed: no files, no context, no commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.errors import BuildError
from compose.images.build.state import Build, BuildRequest, StageState

if TYPE_CHECKING:
    from compose.images.layout import Layer
    from compose.images.session import Session
    from compose.images.store import ImageStore


def settings_stage(
    store: ImageStore, session: Session, document: dict[str, Any], layers: list[Layer]
) -> StageState:
    """The state that instructions such as ENV and CMD work on, with `document` as the image before them."""

    def refuse(*_arguments: object) -> Any:
        raise BuildError("there is nothing to copy from or to run here")

    nothing: Any = refuse
    absent: Any = None
    build = Build(
        BuildRequest(context=""), store, session, absent, absent, {}, "\\", nothing, nothing, nothing
    )
    return StageState(build, document, layers, {})
