"""Defaults that depend on nothing else, and paths made absolute: the last passes over one group of files."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Any

from compose.model.passes import Pass
from compose.model.short import mapping
from compose.model.tree import Context, Map

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.model.inputs import Inputs

_REMOTE = ("https://", "http://", "git://", "ssh://", "github.com/", "git@")


def _default(**values: Any) -> Callable[[Any, Context], Any]:
    def function(value: Any, context: Context) -> Any:
        if isinstance(value, Map):
            for key, default in values.items():
                if key not in value:
                    value.put(key, default, (context.at, context.at))
        return value

    return function


def _device_count(value: Any, context: Context) -> Any:
    if isinstance(value, Map) and "count" not in value and "device_ids" not in value:
        value.put("count", "all", (context.at, context.at))
    return value


def _secret_target(value: Any, context: Context) -> Any:
    if isinstance(value, Map) and "target" not in value:
        value.put("target", f"/run/secrets/{value.get('source')}", (context.at, context.at))
    return value


DEFAULTS = Pass(
    {
        "services.*.build": _default(context="."),
        "services.*.depends_on.*": _default(condition="service_started", required=True),
        "services.*.deploy.resources.reservations.devices.*": _device_count,
        "services.*.env_file.*": _default(required=True),
        "services.*.gpus.*": _device_count,
        "services.*.ports.*": _default(mode="ingress", protocol="tcp"),
        "services.*.secrets.*": _secret_target,
    }
)


class Places:
    """Makes the relative paths of a tree absolute, seen from one directory."""

    def __init__(self, inputs: Inputs, directory: str) -> None:
        self.inputs = inputs
        self.directory = directory
        self._pass = Pass(
            {
                "configs.*.file": self._mount_path,
                "secrets.*.file": self._mount_path,
                "services.*.build.additional_contexts.*": self._build_context,
                "services.*.build.context": self._build_context,
                "services.*.build.ssh.*": self._mount_path,
                "services.*.develop.watch.*.path": self._linked,
                "services.*.env_file.*.path": self._path,
                "services.*.extends.file": self._path,
                "services.*.label_file.*": self._path,
                "services.*.volumes.*": self._volume,
                "volumes.*": self._named_volume,
            }
        )

    def resolve(self, tree: Map) -> Map:
        """Every path of the tree made absolute, in place."""
        return self._pass.apply(tree)

    def absolute(self, text: str) -> str:
        """One path."""
        if text.startswith("~"):
            home = self.inputs.variable("HOME")
            if home:
                text = posixpath.normpath(f"{home}/{text[1:]}")
        if not text or text.startswith("/"):
            return text
        return posixpath.normpath(f"{self.directory}/{text}")

    def _path(self, value: Any, context: Context) -> Any:
        return self.absolute(value) if isinstance(value, str) else value

    def _mount_path(self, value: Any, context: Context) -> Any:
        """A path that may be one of Windows; an empty one is the directory itself, as in docker compose."""
        if not isinstance(value, str) or _windows_absolute(value):
            return value
        return self.absolute(value) or self.directory

    def _linked(self, value: Any, context: Context) -> Any:
        if not isinstance(value, str):
            return value
        path = self.absolute(value)
        self.inputs.kind(path)
        return os.path.realpath(path)

    def _build_context(self, value: Any, context: Context) -> Any:
        if not isinstance(value, str) or "://" in value or value.startswith(("service:", *_REMOTE)):
            return value
        return self.absolute(value)

    def _volume(self, value: Any, context: Context) -> Any:
        if isinstance(value, Map) and value.get("type") == "bind":
            if value.get("source") is None:
                raise context.error("a bind mount needs a source", "add `source: ./directory`")
            value["source"] = self._mount_path(value["source"], context)
        return value

    def _named_volume(self, value: Any, context: Context) -> Any:
        options = (
            value.get("driver_opts") if isinstance(value, Map) and value.get("driver") == "local" else None
        )
        if isinstance(options, Map) and options.get("o") == "bind" and isinstance(options.get("device"), str):
            options["device"] = self._mount_path(options["device"], context)
        return value


def _windows_absolute(text: str) -> bool:
    return text.startswith("\\\\") or (text[1:2] == ":" and text[0].isalpha() and text[2:3] in ("\\", "/"))


__all__ = ["DEFAULTS", "Places", "mapping"]
