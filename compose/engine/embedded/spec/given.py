"""Configs and secrets: files of the user that are shown as they lie there, or content that we write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from compose.errors import ContainerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Definitions = Mapping[str, Mapping[str, Mapping[str, Any]]]

_FIRST_BAD_ID = (1 << 32) - 1
_MODES = 0o7777


class GivenFile(NamedTuple):
    """A config or secret whose content we write ourselves."""

    target: str
    content: str
    uid: int
    gid: int
    mode: int


class ShownFile(NamedTuple):
    """A config or secret that is a file of the host. Its owner and mode are seen, as in docker compose."""

    key: str
    """``configs.NAME``, for messages."""
    source: str
    target: str


KINDS = ("configs", "secrets")


def given(
    service: Mapping[str, Any], definitions: Definitions, kinds: Sequence[str] = KINDS
) -> Iterator[GivenFile | ShownFile]:
    """The configs and secrets of a service; raises `ContainerError` for what cannot be had."""
    for kind in kinds:
        for use in service.get(kind) or ():
            yield _given(use, definitions[kind][use["source"]], kind)


def _given(use: Mapping[str, Any], definition: Mapping[str, Any], kind: str) -> GivenFile | ShownFile:
    key, target = f"{kind}.{use['source']}", _target(use, kind)
    if definition.get("external"):
        raise ContainerError(
            f"{key} is external, but there is no store of {kind}",
            hint=f"write `file: PATH` or `environment: VARIABLE` below {key}, instead of `external: true`",
        )
    if definition.get("file"):
        return ShownFile(key, definition["file"], target)
    variable = definition.get("environment")
    if variable and definition.get("content") is None:
        raise ContainerError(
            f"{key}: the variable {variable} is not set", hint=f"set it: {variable}=... pycompose up"
        )
    content = str(definition.get("content") or "")
    uid, gid = _number(key, "uid", use.get("uid")), _number(key, "gid", use.get("gid"))
    return GivenFile(target, content, uid, gid, _mode(key, use.get("mode")))


def _target(use: Mapping[str, Any], kind: str) -> str:
    """Where the file is seen; a relative target starts from the kind's own directory."""
    base = "/run/secrets/" if kind == "secrets" else "/"
    target = str(use.get("target") or use["source"])
    return target if target.startswith("/") else base + target


def _number(key: str, name: str, value: Any) -> int:
    """A user's or group's number: names are the image's, and the file is made without looking into it."""
    text = str(value if value is not None else 0) or "0"
    if not (text.isascii() and text.isdigit()) or int(text) >= _FIRST_BAD_ID:
        raise ContainerError(f"{key}: {name}: {text} is not a number", hint=f'write {name}: "1000"')
    return int(text)


def _mode(key: str, value: Any) -> int:
    text = str(value if value is not None else "0444") or "0444"
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= _MODES:
        raise ContainerError(f"{key}: mode: {text} is not a file mode", hint="write mode: 0440")
    return mode
