"""`env_file` and `label_file`: files of variables below what the service itself says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.model import dotenv
from compose.model.loader import similar
from compose.model.tree import Map, Position, Seq, error

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.model.inputs import Inputs


def read_env_files(service: Map, name: str, inputs: Inputs, lookup: Callable[[str], str | None]) -> None:
    """Fill in `environment` from the files of `env_file`, which goes away."""
    entries = service.get("env_file")
    if not isinstance(entries, Seq):
        return
    own = service.get("environment") if isinstance(service.get("environment"), Map) else None

    def lookup_own(variable: str) -> str | None:
        found = lookup(variable)
        if found is None and own is not None:
            value = own.get(variable)
            return value if isinstance(value, str) else None
        return found

    known: dict[str, str] = {}
    places: dict[str, Position] = {}

    def note(variable: str, at: Position, value: str) -> None:
        places[variable] = at

    if own is not None:
        known.update({key: value for key, value in own.items() if value is not None})
    for index, (entry, at) in enumerate(entries.entries()):
        path = ("services", name, "env_file", index)
        _read(entry, inputs, known, lookup_own, at, path, note)
    result = Map(entries.start)
    for key, value in known.items():
        place = places.get(key, entries.start)
        result.put(key, value, (place, place))
    for key, value in (own or {}).items():
        result.put(key, value, own.where(key) if own is not None else None)
    if result:
        service.put("environment", result, service.where("environment"))
    del service["env_file"]


def _read(
    entry: Any,
    inputs: Inputs,
    known: dict[str, str],
    lookup: Callable[[str], str | None],
    at: Position,
    path: tuple[str | int, ...],
    note: dotenv.Note,
) -> None:
    file = str(entry.get("path") or "")
    if inputs.kind(file) != "file":
        if inputs.kind(file) == "none" and entry.get("required") in (False, "false"):
            return
        what = "is a directory" if inputs.kind(file) == "dir" else "does not exist"
        raise error(at, path, f"{inputs.shown(file)} {what}", "create it, or say `required: false`")
    kind = entry.get("format") or ""
    if kind == "raw":
        dotenv.parse_raw(inputs.read(file), inputs.shown(file), lookup, known, note, inputs.budget)
    elif kind == "":
        content, shown = inputs.read(file), inputs.shown(file)
        dotenv.parse(content, shown, lookup, known, note, inputs.budget, inputs.note_unset)
    else:
        raise error(
            at, path, f"`{kind}` is not a format", similar(kind, ["raw"]) or "write `raw`, or leave it out"
        )


def read_label_files(service: Map, name: str, inputs: Inputs) -> None:
    """Fill in `labels` from the files of `label_file`, which goes away."""
    files = service.get("label_file")
    if not isinstance(files, Seq):
        return
    known: dict[str, str] = {}
    for index, (file, at) in enumerate(files.entries()):
        if inputs.kind(str(file)) != "file":
            path = ("services", name, "label_file", index)
            raise error(at, path, f"{inputs.shown(str(file))} is not there", "create it, or remove the entry")
        data, shown = inputs.read(str(file)), inputs.shown(str(file))
        dotenv.parse(data, shown, known.get, known, budget=inputs.budget, warn=inputs.note_unset)
    own = service.get("labels")
    result = Map(files.start)
    for key, value in known.items():
        result.put(key, value, (files.start, files.start))
    if isinstance(own, Map):
        for key, value in own.items():
            result.put(key, value, own.where(key))
    if result:
        service.put("labels", result, service.where("labels"))
    del service["label_file"]
