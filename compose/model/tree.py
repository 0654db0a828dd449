"""The tree between YAML text and the finished project: plain values that remember where they stand.

A ``Map`` is a dict and a ``Seq`` is a list, so that every pass, and jsonschema, may treat them as such;
beside each entry lies the position of its key and of its value. A pass that forgets to hand a position on
loses precision, never correctness: what has none is reported at the container's beginning.
"""

from __future__ import annotations

from compose.errors import ModelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

Path = tuple["str | int", ...]
_LONGEST = 2000
"""Characters of a message: the values that it shows may be as long as the file."""


class Position(tuple[str, int, int]):
    """A place in a file: its name as the user knows it, line and column, both counted from 1."""

    __slots__ = ()

    def __new__(cls, file: str, line: int, column: int) -> Position:
        return tuple.__new__(cls, (file, line, column))

    @property
    def file(self) -> str:
        return self[0]

    @property
    def line(self) -> int:
        return self[1]

    @property
    def column(self) -> int:
        return self[2]

    def __str__(self) -> str:
        return f"{self[0]}:{self[1]}:{self[2]}" if self[1] else self[0]


class _Reset:
    """The value of a key that carries ``!reset``: whatever was there before goes away."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "!reset"


RESET = _Reset()


class Map(dict[str, "Any"]):
    """A mapping; `at` holds (position of the key, position of the value), `overrides` the !override keys."""

    __slots__ = ("at", "overrides", "start")

    def __init__(self, start: Position) -> None:
        super().__init__()
        self.start = start
        self.at: dict[str, tuple[Position, Position]] = {}
        self.overrides: set[str] = set()

    def put(self, key: str, value: Any, at: tuple[Position, Position] | None = None) -> None:
        """Set a key together with its position."""
        self[key] = value
        if at is not None:
            self.at[key] = at

    def where(self, key: str) -> tuple[Position, Position]:
        """The positions of a key and its value, or of the mapping."""
        return self.at.get(key) or (self.start, self.start)

    def copy(self) -> Map:
        """A shallow copy that knows the same positions."""
        other = Map(self.start)
        other.update(self)
        other.at.update(self.at)
        other.overrides.update(self.overrides)
        return other


class Seq(list["Any"]):
    """A sequence; `at` holds the position of each item."""

    __slots__ = ("at", "start")

    def __init__(self, start: Position, items: Iterable[Any] = ()) -> None:
        super().__init__(items)
        self.start = start
        self.at: list[Position] = []

    def add(self, value: Any, at: Position | None = None) -> None:
        """Append an item together with its position."""
        while len(self.at) < len(self):
            self.at.append(self.start)
        self.append(value)
        self.at.append(at or self.start)

    def where(self, index: int) -> Position:
        """The position of an item, or of the sequence."""
        return self.at[index] if index < len(self.at) else self.start

    def entries(self) -> Iterator[tuple[Any, Position]]:
        """Each item with its position."""
        for index, value in enumerate(self):
            yield value, self.where(index)


def clone(value: Any) -> Any:
    """A deep copy of a tree; positions are shared, they never change."""
    if isinstance(value, Map):
        result = Map(value.start)
        for key, item in value.items():
            result[key] = clone(item)
        result.at.update(value.at)
        result.overrides.update(value.overrides)
        return result
    if isinstance(value, Seq):
        copied = Seq(value.start, [clone(item) for item in value])
        copied.at.extend(value.at)
        return copied
    return value


def plain(value: Any) -> Any:
    """The tree as ordinary dicts and lists; what is reset reads ``!reset``."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return repr(value) if value is RESET else value


def locate(tree: Any, path: Path) -> tuple[Position, Position] | None:
    """The positions of key and value at a path; of its nearest ancestor where it has none itself."""
    found: tuple[Position, Position] | None = None
    value = tree
    for part in path:
        if isinstance(value, Map) and part in value:
            found = value.at.get(str(part)) or found
            value = value[str(part)]
        elif isinstance(value, Seq) and isinstance(part, int) and part < len(value):
            found = (value.where(part), value.where(part))
            value = value[part]
        else:
            break
    if found is None and isinstance(tree, (Map, Seq)):
        return tree.start, tree.start
    return found


def dotted(path: Path) -> str:
    """A path as it is written in messages: ``services.web.ports[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def error(at: Position | None, path: Path, problem: str, hint: str | None = None) -> ModelError:
    """The one form of every message about a file: where, which key, what is wrong; what to write instead."""
    if len(problem) > _LONGEST:
        problem = f"{problem[: _LONGEST // 2]} ... {problem[-_LONGEST // 2 :]}"
    parts = [str(part) for part in (at, dotted(path)) if part]
    return ModelError(printable(": ".join([*parts, problem])), hint=printable(hint) if hint else None)


def printable(text: str) -> str:
    """A text in one line: what would end it, or move a terminal's cursor, is escaped."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def not_utf_8(data: bytes, problem: UnicodeDecodeError, file: str) -> ModelError:
    """An error about the first byte of a file that is no part of UTF-8 text."""
    before = data[: problem.start]
    column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
    at = Position(file, before.count(b"\n") + 1, column)
    return error(at, (), "is not UTF-8 text", "save the file as UTF-8")


class Context:
    """What a function of a pass knows about the value before it."""

    __slots__ = ("at", "key_at", "path")

    def __init__(self, path: Path, key_at: Position, at: Position) -> None:
        self.path = path
        self.key_at = key_at
        self.at = at

    def error(self, problem: str, hint: str | None = None) -> ModelError:
        """An error about this value."""
        return error(self.at, self.path, problem, hint)

    def refusal(self, problem: ValueError) -> ModelError:
        """An error about this value, as a converter said it."""
        return self.error(getattr(problem, "problem", str(problem)), getattr(problem, "hint", None))

    def within(self, part: str | int, at: Position | None = None) -> Context:
        """The context of an entry of this value."""
        return Context((*self.path, part), at or self.at, at or self.at)
