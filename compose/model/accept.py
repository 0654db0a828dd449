"""A quick yes for what a JSON schema accepts; a no is for jsonschema to say, and to explain.

Importing jsonschema takes five times as long as checking a compose file does, and nearly every file is right.
So a file is first held against the same schema by the few lines below. What they accept is accepted; whatever
they do not, jsonschema is asked about, and its answer counts. Hence one rule for every doubt: **never accept
what jsonschema would refuse**. The other way round costs time only. A keyword that is not known here
accepts nothing. The tests let both judge every fixture, every ill file, and thousands of values made up at
random.
"""

from __future__ import annotations

import re

from compose.model.scalars import Date
from compose.model.tree import RESET, Map, Seq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS: dict[type, str] = {
    Map: "object",
    dict: "object",
    Seq: "array",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}
_NO_MEANING = frozenset(("$schema", "title", "description", "definitions", "default", "examples", "$comment"))


class Shape:
    """One schema, made ready; schemas behind `$ref` are made ready when a value first needs them."""

    __slots__ = (
        "additional",
        "doubtful",
        "enum",
        "items",
        "kinds",
        "lengths",
        "names",
        "pattern",
        "patterns",
        "properties",
        "range",
        "required",
        "unique",
    )

    def __init__(self, schema: dict[str, Any]) -> None:
        known = set(schema) - _NO_MEANING

        def take(keyword: str, default: Any = None) -> Any:
            known.discard(keyword)
            return schema.get(keyword, default)

        kinds = take("type")
        self.kinds = None if kinds is None else frozenset([kinds] if isinstance(kinds, str) else kinds)
        if self.kinds is not None and "number" in self.kinds:
            self.kinds |= {"integer"}
        self.properties: dict[str, Any] = take("properties", {})
        self.patterns = [(re.compile(text), one) for text, one in take("patternProperties", {}).items()]
        self.additional: Any = take("additionalProperties", True)
        self.names: Any = take("propertyNames", True)
        self.items: Any = take("items", True)
        self.required: list[str] = take("required", [])
        self.unique: bool = take("uniqueItems", False)
        pattern = take("pattern")
        self.pattern = None if pattern is None else re.compile(pattern)
        self.lengths: tuple[int, float] = (take("minLength", 0), take("maxLength", float("inf")))
        self.range: tuple[float, float] = (take("minimum", -float("inf")), take("maximum", float("inf")))
        self.enum: list[Any] | None = take("enum")
        self.doubtful = bool(known) or isinstance(self.items, list)


class Shapes:
    """A whole schema document (of draft 7, in the keywords that `Shape` knows)."""

    __slots__ = ("document", "made")

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.made: dict[int, Shape] = {}

    def accept(self, value: Any, *, partial: bool, schema: Any = None) -> bool:
        """Whether the schema surely accepts a value; False means no more than that jsonschema must be asked.

        `schema` is a part of the document, where it is not the whole. In a `partial` value, which is yet to
        be laid over another one, keys may lack and values be empty.
        """
        return self._accept(value, self.document if schema is None else schema, partial)

    def _shape(self, schema: dict[str, Any]) -> Shape:
        shape = self.made.get(id(schema))
        if shape is None:
            target = schema
            while "$ref" in target:
                name = str(target["$ref"]).removeprefix("#/definitions/")
                target = self.document.get("definitions", {})[name]
            shape = self.made[id(schema)] = Shape(target)
        return shape

    def _accept(self, value: Any, schema: Any, partial: bool) -> bool:
        if schema is True or value is RESET or (partial and value is None):
            return True
        if schema is False:
            return False
        shape = self._shape(schema)
        kind = _KINDS.get(type(value))
        if type(value) is Date:  # only where everything is allowed
            return not shape.doubtful and shape.kinds is None and shape.enum is None
        if kind is None or shape.doubtful:
            return False
        if shape.kinds is not None and kind not in shape.kinds:
            return kind == "number" and "integer" in shape.kinds and float(value).is_integer()
        if shape.enum is not None and not any(
            value == one and type(value) is type(one) for one in shape.enum
        ):
            return False
        if kind == "object":
            return self._object(value, shape, partial)
        if kind == "array":
            return self._array(value, shape, partial)
        if kind == "string":
            at_least, at_most = shape.lengths
            return at_least <= len(value) <= at_most and (
                shape.pattern is None or shape.pattern.search(value) is not None
            )
        if kind in ("integer", "number"):
            return shape.range[0] <= float(value) <= shape.range[1]
        return True

    def _object(self, value: dict[str, Any], shape: Shape, partial: bool) -> bool:
        if not partial and any(key not in value for key in shape.required):
            return False
        for key, item in value.items():
            if shape.names is not True and not self._accept(key, shape.names, False):
                return False
            schema = shape.properties.get(key)
            known = schema is not None
            if known and not self._accept(item, schema, partial):
                return False
            for pattern, other in shape.patterns:
                if pattern.search(key):
                    known = True
                    if not self._accept(item, other, partial):
                        return False
            if not known and not self._additional(item, shape, partial):
                return False
        return True

    def _additional(self, item: Any, shape: Shape, partial: bool) -> bool:
        """A key that is not named: refused where `additionalProperties` is false, whatever its value."""
        return shape.additional is not False and self._accept(item, shape.additional, partial)

    def _array(self, value: list[Any], shape: Shape, partial: bool) -> bool:
        if shape.items is not True and not all(self._accept(item, shape.items, partial) for item in value):
            return False
        return not shape.unique or second(value) is None


def second(items: list[Any]) -> int | None:
    """The index of the first item that was there before, as JSON schema compares them; None if all differ."""
    seen: set[Any] = set()
    for index, item in enumerate(items):
        key = item if type(item) is str else ("", _comparable(item))
        if key in seen:
            return index
        seen.add(key)
    return None


def _comparable(value: Any) -> Any:
    """Equal for what JSON schema calls equal: 1 and 1.0, but not 1 and true; whatever the keys' order."""
    if isinstance(value, dict):
        return "{", frozenset((key, _comparable(item)) for key, item in value.items())
    if isinstance(value, list):
        return "[", tuple(map(_comparable, value))
    return isinstance(value, bool), value
