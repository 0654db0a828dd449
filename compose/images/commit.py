"""An image from another one, and what a container has written on top of it."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.errors import ImageError
from compose.images import trees
from compose.images.unpack import Unpacker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.images.catalogue import Image
    from compose.images.layout import Layer
    from compose.images.session import Session
    from compose.images.store import ImageStore

_CHANGES = frozenset(
    "CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD SHELL STOPSIGNAL USER VOLUME WORKDIR".split()
)


class Commit(NamedTuple):
    """What to make."""

    image: str
    """The id of the image that the container was made from."""
    upper: str
    """The directory with what it has changed, as overlayfs has it."""
    settings: dict[str, Any]
    """What stands for the image's own settings (the ``config`` of its OCI document)."""
    names: tuple[str, ...] = ()
    author: str = ""
    message: str = ""
    command: str = ""
    """What the container ran, for the history."""
    changes: tuple[str, ...] = ()
    """Instructions of a Dockerfile that change settings."""


def commit(store: ImageStore, wanted: Commit) -> Image:
    """Make the image and store it. Raises `ImageError`, `BuildError` for a change that is none."""
    with store.session() as session:
        base = session.find(wanted.image)
        if base is None:
            raise ImageError(f"the image {wanted.image[:19]} of the container is no longer in the store")
        layers = store.layers_of(base)
        document = {**base.config, "config": {**base.settings, **wanted.settings}}
        _change(store, session, document, layers, wanted.changes)
        layers.append(_changes_of(session, wanted.upper))
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        entry = {"created": now, "created_by": wanted.command, "comment": wanted.message}
        document["created"] = now
        if wanted.author:
            document["author"] = entry["author"] = wanted.author
        document["history"] = [*(document.get("history") or []), entry]
        return session.add_image(document, layers, wanted.names)


def _changes_of(session: Session, upper: str) -> Layer:
    """The upper directory as a layer."""
    directory = session.directory()
    source = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree = os.open(f"{directory}/layer/tree", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.closing(Unpacker(tree, whiteouts=True)) as unpacker:
                for entry, content in trees.walk(source, b"", b"", layer=True):
                    unpacker.add(entry, content)
                unpacker.finish()
        finally:
            os.close(tree)
    finally:
        os.close(source)
    return session.add_layer(directory)


def _change(
    store: ImageStore,
    session: Session,
    document: dict[str, Any],
    layers: list[Layer],
    changes: Sequence[str],
) -> None:
    """Carry out the instructions on the document's settings."""
    if not changes:
        return
    from compose.images.build.builder import STEPS
    from compose.images.build.parser import parse
    from compose.images.build.settings import settings_stage

    dockerfile = parse("\n".join(changes).encode("utf-8", "surrogateescape"), "--change")
    stage = settings_stage(store, session, document, layers)
    for instruction in dockerfile.instructions:
        if instruction.name not in _CHANGES:
            raise instruction.place.error(
                f"{instruction.name} changes more than settings", hint=f"use {', '.join(sorted(_CHANGES))}"
            )
        step = STEPS[instruction.name](instruction, dockerfile.escape)
        step.prepare(stage)
        step.commit(stage)
    document["config"] = stage.config
