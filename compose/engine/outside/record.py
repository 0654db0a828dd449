"""What is known of what other programs provide for one project, in DATA/outside/PROJECT.json."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from compose.state.files import read_json, replace_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.state.paths import Paths


class Record:
    """Providers by service, and the variables of each service by whom it has them from."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.providers: dict[str, dict[str, Any]] = dict(data.get("providers") or {})
        self._variables: dict[str, dict[str, dict[str, str]]] = {
            service: dict(sources) for service, sources in (data.get("variables") or {}).items()
        }

    def data(self) -> dict[str, Any]:
        """As it is written."""
        return {"providers": self.providers, "variables": self._variables}

    def variables(self, service: str) -> dict[str, str]:
        """All that a service gets."""
        found: dict[str, str] = {}
        for given in self._variables.get(service, {}).values():
            found |= given
        return found

    def set_variables(self, service: str, source: str, given: Mapping[str, str]) -> None:
        """Replace what a service gets from one source."""
        self._variables.setdefault(service, {})[source] = dict(given)

    def forget(self, provider: str) -> None:
        """A provider has been taken down."""
        self.providers.pop(provider, None)
        for sources in self._variables.values():
            sources.pop(provider, None)


def _path(paths: Paths, project: str) -> str:
    return f"{paths.outside}/{project}.json"


def read(paths: Paths, project: str) -> Record:
    """What is known; nothing where the file is missing or damaged: the next `up` asks again."""
    try:
        found = read_json(_path(paths, project))
        return Record(found if isinstance(found, dict) else {})
    except (OSError, ValueError, RecursionError, AttributeError, TypeError):
        return Record({})


def write(paths: Paths, project: str, record: Record) -> None:
    """Replace it; only for this user, since variables may be secrets."""
    os.makedirs(paths.outside, mode=0o700, exist_ok=True)
    replace_json(_path(paths, project), record.data())


def remove(paths: Paths, project: str) -> None:
    """Nothing is provided any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(paths, project))
