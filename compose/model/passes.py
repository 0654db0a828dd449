"""A pass is a table from path pattern to function, walked as a trie.

``services.*.ports`` names the ports of every service, ``services.*.volumes.*`` each volume of every
service. Only branches that some pattern reaches are visited. A function gets the value and a `Context`,
returns the value that takes its place, or `DROP`; the walk then goes on into what it returned.
"""

from __future__ import annotations

from compose.model.tree import Context, Map, Position, Seq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Function = Callable[[Any, Context], Any]


class _Drop:
    __slots__ = ()


DROP = _Drop()


class _Node:
    __slots__ = ("any", "children", "function")

    def __init__(self) -> None:
        self.function: Function | None = None
        self.children: dict[str, _Node] = {}
        self.any: _Node | None = None


class Pass:
    """A table of path patterns, ready to be applied to trees."""

    __slots__ = ("_root",)

    def __init__(self, table: Mapping[str, Function]) -> None:
        self._root = _Node()
        for pattern, function in table.items():
            node = self._root
            for part in pattern.split("."):
                if part == "*":
                    node.any = node.any or _Node()
                    node = node.any
                else:
                    node = node.children.setdefault(part, _Node())
            node.function = function

    def apply(self, tree: Map, prefix: tuple[str | int, ...] = ()) -> Map:
        """Apply every function to what its pattern names, in place; returns the tree."""
        self._map(tree, [self._root], prefix)
        return tree

    def _map(self, tree: Map, nodes: list[_Node], path: tuple[str | int, ...]) -> None:
        for key in list(tree):
            below = _below(nodes, key)
            if not below:
                continue
            key_at, at = tree.where(key)
            value = self._value(tree[key], below, (*path, key), key_at, at)
            if value is DROP:
                del tree[key]
            else:
                tree[key] = value

    def _value(
        self, value: Any, nodes: list[_Node], path: tuple[str | int, ...], key_at: Position, at: Position
    ) -> Any:
        for node in nodes:
            if node.function is not None:
                value = node.function(value, Context(path, key_at, at))
                if value is DROP:
                    return value
        if isinstance(value, Map):
            self._map(value, nodes, path)
        elif isinstance(value, Seq):
            dropped = []
            for index, item in enumerate(value):
                below = _below(nodes, str(index))
                if below:
                    where = value.where(index)
                    value[index] = self._value(item, below, (*path, index), where, where)
                    if value[index] is DROP:
                        dropped.append(index)
            for index in reversed(dropped):
                del value[index]
                del value.at[index : index + 1]
        return value


def _below(nodes: list[_Node], key: str) -> list[_Node]:
    found = []
    for node in nodes:
        child = node.children.get(key)
        if child is not None:
            found.append(child)
        if node.any is not None:
            found.append(node.any)
    return found
