"""Finished projects, kept by the digest of everything that went into them.

    CACHE/model/KEY.inputs.json   what a request of this form read the last time: files, variables
    CACHE/model/KEY.DIGEST.json   the project for exactly these bytes and values

KEY is the digest of the request, the program's version and the schema; DIGEST that of the bytes of every
file that was read, the absence of those that were looked for, and the values of the variables that were
looked up. Both files are replaced by rename and have mode 0600, since an environment may hold secrets; a
damaged one counts as absent.
"""

from __future__ import annotations

import json
import os

from compose import __version__
from compose.model.inputs import Inputs, digest
from compose.model.project import Project

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.model.request import Request

FORMAT = 2
MOST_ENTRIES = 400


def load(request: Request, directory: str) -> Project:
    """The project of a request: from the cache where nothing has changed, else made and kept."""
    folder = os.path.join(directory, "model")
    key = digest(
        json.dumps([FORMAT, __version__, _program(), request.key()]).encode("utf-8", "surrogatepass")
    )[:32]
    index = os.path.join(folder, f"{key}.inputs.json")
    known = _read(index)
    if known is not None:
        current = _current(known, request.environment)
        project = _read(os.path.join(folder, f"{key}.{current}.json")) if current else None
        if project is not None:
            try:
                return Project(project)
            except KeyError:
                pass
    from compose.model.assemble import assemble

    made, inputs = assemble(request)
    record = {"files": inputs.files, "variables": sorted(inputs.variables)}
    name = f"{key}.{_digest_of(record, request.environment)}.json"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        _forget(folder, key, name)
        _write(os.path.join(folder, name), made.data())
        _write(index, record)
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
    return made


def _program() -> int:
    """A number that changes with the model's own code, so that a checkout needs no version bump."""
    here = os.path.dirname(os.path.abspath(__file__))
    newest = 0
    with os.scandir(here) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                newest = max(newest, entry.stat().st_mtime_ns)
    for schema in ("../schemas/compose.json", "../../schemas/compose.json"):
        try:
            newest = max(newest, os.stat(os.path.join(here, schema)).st_mtime_ns)
        except OSError:
            continue
    return newest


def _current(known: dict[str, Any], environment: Mapping[str, str]) -> str | None:
    """The digest of the inputs as they are now; None where one cannot be read."""
    try:
        files = known["files"]
        inputs = Inputs(environment, "/")
        for path, before in files.items():
            if before in ("none", "dir", "file"):
                inputs.kind(path)
            else:
                inputs.read(path)
        return _digest_of({"files": inputs.files, "variables": known["variables"]}, environment)
    except Exception:
        return None


def _digest_of(record: dict[str, Any], environment: Mapping[str, str]) -> str:
    values = [(name, environment.get(name)) for name in record["variables"]]
    text = json.dumps([sorted(record["files"].items()), values])
    return digest(text.encode("utf-8", "surrogatepass"))[:32]


def _forget(folder: str, key: str, keep: str) -> None:
    """Remove the former projects of the same request, and the oldest of all when there are too many."""
    names = os.listdir(folder)
    for name in names:
        if name.startswith(f"{key}.") and name not in (keep, f"{key}.inputs.json"):
            os.unlink(os.path.join(folder, name))
    if len(names) > MOST_ENTRIES:
        paths = [entry.path for entry in sorted(os.scandir(folder), key=lambda one: one.stat().st_mtime_ns)]
        for path in paths[: len(paths) // 2]:
            os.unlink(path)


def _read(path: str) -> dict[str, Any] | None:
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def _write(path: str, data: dict[str, Any]) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(json.dumps(data, separators=(",", ":")))  # json.dump would do without the C encoder
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
