"""Checks of one group of files that the schema cannot express; compose-spec, 06 to 09."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.model.passes import Pass
from compose.model.short import check_ip
from compose.model.tree import Context, Map, error

if TYPE_CHECKING:
    from collections.abc import Callable


def _external(value: Any, context: Context) -> Any:
    """`external: true` goes with `name` only: nobody creates what is external."""
    if isinstance(value, Map) and value.get("external") is True:
        for key in value:
            if key not in ("name", "external", "content") and not key.startswith("x-"):
                at = value.where(key)[0]
                raise error(
                    at,
                    (*context.path, key),
                    "cannot stand beside `external: true`",
                    "remove it, or remove `external`",
                )
    return value


def _one_source(*keys: str) -> Callable[[Any, Context], Any]:
    def function(value: Any, context: Context) -> Any:
        if not isinstance(value, Map):
            raise context.error(f"needs one of {', '.join(keys)}", "add `file: PATH`")
        there = [key for key in keys if key in value]
        if len(there) > 1:
            at = value.where(there[1])[0]
            raise error(
                at, (*context.path, there[1]), f"cannot stand beside `{there[0]}`", "keep one of them"
            )
        if not there and "driver" not in value and "external" not in value:
            raise error(
                context.key_at,
                context.path,
                f"says nowhere where its content is: needs one of {', '.join(keys)}",
                "add `file: PATH`, `environment: NAME` or `external: true`",
            )
        return value

    return function


def _host_ip(value: Any, context: Context) -> Any:
    if isinstance(value, Map):
        if "target" not in value:
            raise context.error("lacks the container's port", "add `target: PORT`")
        if "host_ip" in value:
            check_ip(str(value["host_ip"]), context)
    return value


def _device(value: Any, context: Context) -> Any:
    if isinstance(value, Map) and "count" in value and "device_ids" in value:
        raise context.error("`count` and `device_ids` exclude each other", "keep one of them")
    return value


def _device_target(value: Any, context: Context) -> Any:
    if isinstance(value, Map) and "target" not in value:
        raise context.error("lacks the path in the container", f"add `target: {value.get('source')}`")
    return value


def _mount_target(value: Any, context: Context) -> Any:
    if isinstance(value, Map) and not value.get("target"):
        raise context.error("lacks the path in the container", "add `target: /path`")
    return value


def _not_blank(value: Any, context: Context) -> Any:
    if value == "":
        raise context.error("cannot be empty", "write a path, such as ./src")
    return value


_RULES = Pass(
    {
        "configs.*": _one_source("file", "content", "environment"),
        "secrets.*": _one_source("file", "environment"),
        "services.*.deploy.resources.reservations.devices.*": _device,
        "services.*.develop.watch.*.path": _not_blank,
        "services.*.devices.*": _device_target,
        "services.*.gpus.*": _device,
        "services.*.ports.*": _host_ip,
        "services.*.volumes.*": _mount_target,
        "volumes.*": _external,
    }
)


def check_rules(tree: Map) -> None:
    """Raise ModelError for the first rule that is broken."""
    _RULES.apply(tree)
