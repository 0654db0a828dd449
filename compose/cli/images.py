"""``pycompose images``."""

from __future__ import annotations

import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from compose.cli.scope import Container
    from compose.images.store import ImageStore

_COLUMNS = {
    "ContainerName": "CONTAINER",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Platform": "PLATFORM",
    "ShortID": "IMAGE ID",
    "HumanSize": "SIZE",
    "CreatedSince": "CREATED",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("--format", choices=("table", "json"), default="table", help="how to print it")
    add("-q", "--quiet", action="store_true", help="only ids")


def run(arguments: argparse.Namespace) -> int:
    """List the images of the project's containers."""
    from compose.cli.scope import Scope
    from compose.images.store import ImageStore
    from compose.ui.template import render

    scope = Scope(arguments)
    store = ImageStore(scope.paths)
    containers = sorted(scope.containers(arguments.services), key=lambda found: found.row.name)
    if arguments.quiet:
        found = dict.fromkeys(one.spec["image"].removeprefix("sha256:") for one in containers)
        sys.stdout.write("".join(f"{identity}\n" for identity in found))
        return 0
    rows = [_row(store, one) for one in containers]
    if arguments.format == "json":
        import json

        shown = [{key: value for key, value in row.items() if key not in _ONLY_SHOWN} for row in rows]
        sys.stdout.write(json.dumps(shown, separators=(",", ":"), ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(render("table", rows, _COLUMNS, minimum=20))
    return 0


_ONLY_SHOWN = ("ShortID", "HumanSize", "CreatedSince")


def _row(store: ImageStore, container: Container) -> dict[str, Any]:
    from compose.errors import ImageError
    from compose.ui.sizes import decimal
    from compose.ui.table import ago

    identity = container.spec["image"]
    repository, tag = _name(container.spec["image_name"])
    row = {"ID": identity, "ContainerName": container.row.name, "Repository": repository, "Tag": tag}
    try:
        image = store.find(identity)
    except ImageError:
        image = None
    config = image.config if image is not None else {}
    size = store.size(image) if image is not None else 0
    platform = "/".join(filter(None, (config.get("os"), config.get("architecture"), config.get("variant"))))
    created = _seconds(config.get("created"))
    return {
        **row,
        "Platform": platform,
        "Size": size,
        "Created": config.get("created") or "",
        "ShortID": identity.removeprefix("sha256:")[:12],
        "HumanSize": decimal(size),
        "CreatedSince": f"{ago(time.time() - created)} ago" if created else "N/A",
    }


def _name(name: str) -> tuple[str, str]:
    """Repository and tag of what the service calls its image; ``<none>`` for one that is named by digest."""
    from compose.errors import ImageError
    from compose.images import reference

    try:
        parsed = reference.parse(name)
    except ImageError:
        return "<none>", "<none>"
    return parsed._replace(tag="", digest="").familiar, parsed.tag or "<none>"


def _seconds(text: object) -> float:
    """RFC 3339 as seconds since the epoch; 0 where there is no time."""
    from datetime import datetime

    if not isinstance(text, str):
        return 0.0
    whole, _, fraction = text.partition(".")
    try:
        zone = "" if not fraction or fraction.endswith("Z") else fraction.lstrip("0123456789")
        return datetime.fromisoformat(whole.removesuffix("Z") + (zone or "+00:00")).timestamp()
    except ValueError:
        return 0.0
