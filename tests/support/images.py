"""Images for tests, made of directories."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from compose.images.copying import Copier, Rules
from compose.images.store import ImageStore

if TYPE_CHECKING:
    from compose.images.catalogue import Image
    from compose.images.layout import Layer
    from compose.images.session import Session
    from compose.state.paths import Paths


def silent(what: str, status: str, fraction: float | None) -> None:
    """Progress that nobody looks at."""


def store_image(paths: Paths, name: str, *directories: str, config: dict[str, Any] | None = None) -> Image:
    """An image in the store with one layer for each directory, lowest first."""
    os.makedirs(paths.images, mode=0o700, exist_ok=True)
    with ImageStore(paths).session() as session:
        layers = [add_directory(session, directory) for directory in directories]
        document = {"architecture": "amd64", "os": "linux", "config": config or {}}
        return session.add_image(document, layers, [name])


def add_directory(session: Session, directory: str) -> Layer:
    """A layer with a copy of what is in `directory`, whose own mode (0700 for tests) is not taken over."""
    made = session.directory()
    source = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    target = os.open(f"{made}/layer/tree", os.O_RDONLY | os.O_DIRECTORY)
    try:
        with Copier(Rules()) as copier:
            copier.tree(source, target)
        os.utime(target, ns=(0, os.fstat(source).st_mtime_ns))
    finally:
        os.close(source)
        os.close(target)
    return session.add_layer(made)
