"""``pycompose volumes``."""

from __future__ import annotations

import sys

from compose import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any

    from compose.cli.scope import Scope
    from compose.state.index import VolumeRow
    from compose.state.paths import Paths

_COLUMNS = {"Driver": "DRIVER", "Name": "VOLUME NAME"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE")
    add("--format", default="table", metavar="FORMAT", help="table, json, or a Go template")
    add("-q", "--quiet", action="store_true", help="only names")


def run(arguments: argparse.Namespace) -> int:
    """List the named volumes of the project."""
    from compose.cli.scope import Scope
    from compose.ui.template import render

    scope = Scope(arguments)
    scope.check(arguments.services)
    with scope.index() as index:
        rows = [row for row in index.volumes(scope.name) if not row.container]
    if arguments.services:
        used = _used(scope, arguments.services)
        rows = [row for row in rows if row.name in used]
    if arguments.quiet:
        sys.stdout.write("".join(f"{row.name}\n" for row in rows))
    else:
        sys.stdout.write(render(arguments.format, [_shown(scope.paths, row) for row in rows], _COLUMNS))
    return 0


def _used(scope: Scope, services: Sequence[str]) -> set[str]:
    """The names of the volumes that services have, by the file, and by their containers where there is
    none."""
    if scope.project is None:
        found = scope.containers(services)
        return {
            volume["name"] for one in found for volume in one.spec.get("volumes") or () if "name" in volume
        }
    return {
        scope.project.volumes[mount["source"]]["name"]
        for service in services
        for mount in (scope.project.services.get(service) or {}).get("volumes") or ()
        if mount["type"] == "volume" and mount.get("source") in scope.project.volumes
    }


def _shown(paths: Paths, row: VolumeRow) -> dict[str, Any]:
    """What docker shows; the labels of ours that scripts look for are those of docker compose."""
    from compose.ui.template import label_of

    prefix = "com.docker.compose"
    labels = {
        **row.labels,
        f"{prefix}.config-hash": row.config_hash,
        f"{prefix}.project": row.project,
        f"{prefix}.version": __version__,
        f"{prefix}.volume": row.key,
    }
    return {
        "Availability": "N/A",
        "Driver": row.driver or "local",
        "Group": "N/A",
        "Label": label_of(labels),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Links": "N/A",
        "Mountpoint": f"{paths.volumes}/{row.name}/data",
        "Name": row.name,
        "Scope": "local",
        "Size": "N/A",
        "Status": "N/A",
    }
