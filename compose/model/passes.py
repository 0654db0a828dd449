"""A pass is a table from path pattern to function, walked as a trie.

``services.*.ports`` names the ports of every service, ``services.*.volumes.*`` each volume of every
service. Only branches that some pattern reaches are visited. A function gets the value and a `Context`,
returns the value that takes its place, or `DROP`; the walk then goes on into what it returned.
"""

from __future__ import annotations

from compose.model.tree import RESET, Context, Map, Position, Seq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Function = Callable[[Any, Context], Any]


class _Drop:
    __slots__ = ()


DROP = _Drop()


class _State:
    """Where a walk stands in the patterns: what to apply here, and where each key leads."""

    __slots__ = ("functions", "named", "other")

    def __init__(self) -> None:
        self.functions: list[Function] = []
        self.named: dict[str, _State] = {}
        self.other: _State | None = None


class Pass:
    """A table of path patterns, ready to be applied to trees."""

    __slots__ = ("_root",)

    def __init__(self, table: Mapping[str, Function]) -> None:
        self._root = _compiled([(tuple(pattern.split(".")), function) for pattern, function in table.items()])

    def apply(self, tree: Map, prefix: tuple[str | int, ...] = ()) -> Map:
        """Apply every function to what its pattern names, in place; returns the tree."""
        _walk_map(tree, self._root, prefix)
        return tree


def _compiled(patterns: list[tuple[tuple[str, ...], Function]]) -> _State:
    """One state for all patterns that may still match, so that a step of the walk is one look-up."""
    state = _State()
    state.functions = [function for parts, function in patterns if not parts]
    further = [(parts, function) for parts, function in patterns if parts]
    for name in {parts[0]: None for parts, _ in further if parts[0] != "*"}:
        state.named[name] = _compiled(
            # a name says more than a star, so it comes first
            [(parts[1:], function) for parts, function in further if parts[0] == name]
            + [(parts[1:], function) for parts, function in further if parts[0] == "*"]
        )
    starred = [(parts[1:], function) for parts, function in further if parts[0] == "*"]
    state.other = _compiled(starred) if starred else None
    return state


def _walk_map(tree: Map, state: _State, path: tuple[str | int, ...]) -> None:
    named, other = state.named, state.other
    for key in list(tree) if other is not None else [key for key in tree if key in named]:
        below = named.get(key, other)
        if below is None:
            continue
        before = tree[key]
        if before is RESET:
            continue
        if not below.functions and not isinstance(before, (Map, Seq)):
            continue
        key_at, at = tree.where(key)
        value = _walk_value(before, below, (*path, key), key_at, at)
        if value is DROP:
            del tree[key]
        elif value is not before:
            tree[key] = value


def _walk_value(
    value: Any, state: _State, path: tuple[str | int, ...], key_at: Position, at: Position
) -> Any:
    for function in state.functions:
        value = function(value, Context(path, key_at, at))
        if value is DROP:
            return value
    if isinstance(value, Map):
        _walk_map(value, state, path)
    elif isinstance(value, Seq):
        _walk_items(value, state, path)
    return value


def _walk_items(items: Seq, state: _State, path: tuple[str | int, ...]) -> None:
    named, other = state.named, state.other
    if other is None and not named:
        return
    dropped = []
    for index, item in enumerate(items):
        below = named.get(str(index), other) if named else other
        if below is None or not below.functions and not isinstance(item, (Map, Seq)):
            continue
        where = items.where(index)
        value = _walk_value(item, below, (*path, index), where, where)
        if value is DROP:
            dropped.append(index)
        elif value is not item:
            items[index] = value
    for index in reversed(dropped):
        del items[index]
        del items.at[index : index + 1]
