"""Laying one file over another: mappings are merged, sequences appended, scalars replaced, with exceptions.

Compose specification, 13-merge. What a path pattern's rule is stands in `RULES`; which entries of a
sequence are the same one, so that the later replaces the earlier, in `UNIQUE`. ``!reset`` removes what the
earlier file says, ``!override`` replaces it whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compose.model.passes import Pass
from compose.model.tree import RESET, Context, Map, Path, Position, Seq, clone, error
from compose.model.values import go_text

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[[Any, Any, Path, tuple[Position, Position]], Any]


def merge(base: Map, over: Map, path: Path = ()) -> Map:
    """Lay `over` over `base`, in place; returns `base`."""
    for key, value in over.items():
        at = over.where(key)
        if value is RESET:
            base.pop(key, None)
            base.at.pop(key, None)
        elif key not in base or key in over.overrides:
            base.put(key, value, at)
        else:
            here = (*path, key)
            merged = _rule(here)(base[key], value, here, at)
            base.put(
                key, merged, at if merged is value or not isinstance(merged, (Map, Seq)) else base.where(key)
            )
    return base


def _default(base: Any, over: Any, path: Path, at: tuple[Position, Position]) -> Any:
    if over is None:
        return base
    if isinstance(base, Map):
        if not isinstance(over, Map):
            raise error(
                at[1], path, "cannot be laid over a mapping of an earlier file", "write a mapping here too"
            )
        return merge(base, over, path)
    if isinstance(base, Seq):
        if not isinstance(over, Seq):
            raise error(at[1], path, "cannot be laid over a list of an earlier file", "write a list here too")
        return _append(base, over)
    return over


def _append(base: Seq, over: Seq) -> Seq:
    for item, at in over.entries():
        base.add(item, at)
    return base


def _replace(base: Any, over: Any, path: Path, at: tuple[Position, Position]) -> Any:
    return over


def _as_sequences(base: Any, over: Any, path: Path, at: tuple[Position, Position]) -> Any:
    """Lists or mappings of KEY=VALUE: both become lists, which are appended."""
    return _append(_sequence(base, at[1]), _sequence(over, at[1]))


def _sequence(value: Any, at: Position) -> Seq:
    if isinstance(value, Seq):
        return value
    result = Seq(value.start if isinstance(value, Map) else at)
    if isinstance(value, Map):
        for key in sorted(value):
            item, where = value[key], value.where(key)[0]
            if item is RESET:
                continue
            if isinstance(item, Seq):
                for one in item:
                    result.add(f"{key}={go_text(one)}", where)
            else:
                result.add(key if item is None else f"{key}={go_text(item)}", where)
    elif value is not None:
        result.add(value, at)
    return result


def _hosts(base: Any, over: Any, path: Path, at: tuple[Position, Position]) -> Any:
    first = _sequence(base, at[1])
    for item, where in _sequence(over, at[1]).entries():
        if item not in first:
            first.add(item, where)
    return first


def _logging(base: Any, over: Any, path: Path, at: tuple[Position, Position]) -> Any:
    """Options are merged only between the same drivers."""
    if isinstance(base, Map) and isinstance(over, Map):
        drivers = {one["driver"] for one in (base, over) if one.get("driver")}
        if len(drivers) > 1:
            return over
    return _default(base, over, path, at)


def _pools(base: Any, over: Any, path: Path, at: tuple[Position, Position]) -> Any:
    """``ipam.config``: pools of the same subnet are merged."""
    if not (isinstance(base, Seq) and isinstance(over, Seq)):
        return _default(base, over, path, at)
    result = Seq(base.start)
    found: dict[Any, Map] = {}

    def put(pool: Map, where: Position) -> None:
        subnet = pool.get("subnet")
        if subnet in found:
            merge(found[subnet], pool, path)
        else:
            found[subnet] = clone(pool)
            result.add(found[subnet], where)

    for pool, where in over.entries():
        for earlier in base:
            if earlier.get("subnet") == pool.get("subnet"):
                put(earlier, where)
        put(pool, where)
    return result


RULES: dict[tuple[str, ...], Rule] = {
    tuple(pattern.split(".")): rule
    for pattern, rule in {
        "networks.*.ipam.config": _pools,
        "networks.*.labels": _as_sequences,
        "services.*.annotations": _as_sequences,
        "services.*.build.args": _as_sequences,
        "services.*.build.extra_hosts": _hosts,
        "services.*.build.labels": _as_sequences,
        "services.*.command": _replace,
        "services.*.deploy.labels": _as_sequences,
        "services.*.dns": _as_sequences,
        "services.*.dns_opt": _as_sequences,
        "services.*.dns_search": _as_sequences,
        "services.*.entrypoint": _replace,
        "services.*.env_file": _as_sequences,
        "services.*.environment": _as_sequences,
        "services.*.extra_hosts": _hosts,
        "services.*.healthcheck.test": _replace,
        "services.*.label_file": _as_sequences,
        "services.*.labels": _as_sequences,
        "services.*.logging": _logging,
        "services.*.sysctls": _as_sequences,
        "services.*.tmpfs": _as_sequences,
        "services.*.ulimits.*": _replace,
        "services.*.volumes.*.volume.labels": _as_sequences,
        "volumes.*.labels": _as_sequences,
    }.items()
}
_LENGTHS = frozenset(len(pattern) for pattern in RULES)


def _rule(path: Path) -> Rule:
    if len(path) in _LENGTHS:
        for pattern, rule in RULES.items():
            if len(pattern) == len(path) and all(
                part in ("*", key) for part, key in zip(pattern, path, strict=True)
            ):
                return rule
    return _default


def replaces(path: Path) -> bool:
    """Whether a later value at a path takes the place of an earlier one, be it a list or not."""
    return _rule(path) is _replace


# -- entries that replace each other -------------------------------------------------------------------


def _by_key(item: Any) -> Any:
    return item.partition("=")[0] if isinstance(item, str) else item


def _by_target(item: Any) -> Any:
    return item.get("target") if isinstance(item, dict) else item


def _by_path(item: Any) -> Any:
    return item.get("path") if isinstance(item, dict) else item


def _by_file_target(directory: str) -> Callable[[Any], Any]:
    def key(item: Any) -> Any:
        if not isinstance(item, dict):
            return item
        return item.get("target") or f"{directory}/{item.get('source')}"

    return key


def _by_port(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    return (
        item.get("host_ip", "0.0.0.0"),
        go_text(item.get("published")),
        go_text(item.get("target")),
        item.get("protocol", "tcp"),
    )


def _unique(key: Callable[[Any], Any]) -> Callable[[Any, Context], Any]:
    def function(value: Any, context: Context) -> Any:
        if not isinstance(value, Seq):
            return value
        result = Seq(value.start)
        places: dict[Any, int] = {}
        for item, at in value.entries():
            name = key(item)
            try:
                place = places.get(name)
            except TypeError:  # a list where there should be a name: the schema will say so
                result.add(item, at)
                continue
            if place is None:
                places[name] = len(result)
                result.add(item, at)
            else:
                result[place] = item
                result.at[place] = at
        return result

    return function


_UNIQUE: dict[str, Callable[[Any, Context], Any]] = {
    "networks.*.labels": _unique(_by_key),
    "networks.*.ipam.options": _unique(_by_key),
    "services.*.annotations": _unique(_by_key),
    "services.*.build.additional_contexts": _unique(_by_key),
    "services.*.build.args": _unique(_by_key),
    "services.*.build.labels": _unique(_by_key),
    "services.*.build.tags": _unique(_by_key),
    "services.*.cap_add": _unique(_by_key),
    "services.*.cap_drop": _unique(_by_key),
    "services.*.configs": _unique(_by_file_target("")),
    "services.*.deploy.labels": _unique(_by_key),
    "services.*.devices": _unique(_by_target),
    "services.*.dns": _unique(_by_key),
    "services.*.dns_opt": _unique(_by_key),
    "services.*.dns_search": _unique(_by_key),
    "services.*.env_file": _unique(_by_path),
    "services.*.environment": _unique(_by_key),
    "services.*.expose": _unique(go_text),
    "services.*.labels": _unique(_by_key),
    "services.*.links": _unique(_by_key),
    "services.*.networks.*.aliases": _unique(_by_key),
    "services.*.networks.*.link_local_ips": _unique(_by_key),
    "services.*.ports": _unique(_by_port),
    "services.*.profiles": _unique(_by_key),
    "services.*.secrets": _unique(_by_file_target("/run/secrets")),
    "services.*.sysctls": _unique(_by_key),
    "services.*.tmpfs": _unique(_by_key),
    "services.*.volumes": _unique(_by_target),
}
UNIQUE = Pass(_UNIQUE)
UNIQUE_KEYS = frozenset(pattern.rpartition(".")[2] for pattern in _UNIQUE)

UNIQUE_PATHS = Pass({"services.*.env_file": _unique(_by_path)})
"""For files that look different until they are absolute."""


def strip_resets(tree: Any) -> Any:
    """Remove the marks that ``!reset`` left where there was nothing to reset."""
    if isinstance(tree, Map):
        for key in [key for key, value in tree.items() if value is RESET]:
            del tree[key]
        for value in tree.values():
            strip_resets(value)
    elif isinstance(tree, Seq):
        for value in tree:
            strip_resets(value)
    return tree
