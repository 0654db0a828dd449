"""YAML text -> trees with positions, one a document.

Built from the events of libyaml on a stack of our own, so that no nesting can exhaust the interpreter's,
and aliases are counted before they are copied: ten lines that stand for 10^10 nodes are refused at once.
Duplicate keys, keys that are not strings, unknown escapes and the like are errors with their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from compose.model.budget import MAX_WRITTEN, Budget
from compose.model.scalars import Date, resolve
from compose.model.tree import RESET, Map, Position, Seq, clone, error, not_utf_8

if TYPE_CHECKING:
    from compose.errors import ModelError

MAX_DEPTH = 64
TEXT_OF_A_NODE = 256
"""So many characters of a scalar count as one value more, for aliases of long texts."""

_CORE = "tag:yaml.org,2002:"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = object()
_ATTEMPTS = 5
"""How often a file is read at most, each time without the comments at which libyaml stumbled."""
_STUMBLES = ("cannot start any token", "violates indentation")
"""How libyaml says so before a value and after one."""
_TRIED_AGAIN = 1 << 18
"""Characters of the largest file that is read more than once."""


_KEY_TYPES = ("binary", "null", "bool", "int", "float", "timestamp")
"""Tags of keys that say a type; any other one says nothing, as in docker compose."""


class _Frame:
    """A container that is being filled."""

    __slots__ = ("anchor", "container", "key", "key_at", "merges", "seen", "size", "tag")

    def __init__(self, container: Map | Seq, anchor: str | None, tag: str | None) -> None:
        self.container = container
        self.anchor = anchor
        self.tag = tag
        self.key: Any = None
        self.key_at: Position | None = None
        self.merges: list[tuple[Any, Position]] = []
        self.seen: dict[str, Position] = {}
        self.size = 1


def documents(data: bytes, file: str, budget: Budget | None = None) -> list[tuple[Any, Position]]:
    """Each document of a file with its position; none where there is no value and no ``---``."""
    if budget is not None:
        budget.read(data, file)
    text = _decode(data, file)
    _refuse_inner_marks(text, file)
    limit = budget.written if budget else MAX_WRITTEN
    try:
        builder = _built(text, file, limit)
    except yaml.MarkedYAMLError as problem:
        raise _syntax_error(problem, file, text) from None
    except yaml.reader.ReaderError as problem:
        at = _position_of(text, problem.position, file)
        raise error(
            at,
            (),
            f"contains the character #x{_code(problem):04x}, which YAML does not allow",
            f'remove it, or write it as "\\u{_code(problem):04x}" in double quotes',
        ) from None
    except yaml.YAMLError as problem:
        raise error(Position(file, 0, 0), (), f"is not YAML: {_one_line(problem)}") from None
    if budget is not None:
        budget.parsed(builder.nodes)
    return builder.documents


def _built(text: str, file: str, limit: int) -> _Builder:
    attempts = _ATTEMPTS if len(text) <= _TRIED_AGAIN else 1
    while True:
        attempts -= 1
        builder = _Builder(file, limit)
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                builder.feed(event)
            return builder
        except yaml.MarkedYAMLError as problem:
            cured = _without_tabbed_comments(text, problem)
            if cured == text or not attempts:
                raise
            text = cured


def _without_tabbed_comments(text: str, problem: yaml.MarkedYAMLError) -> str:
    """The text without the comments at which libyaml stumbled, because a tab indents the first of them.

    YAML and docker compose allow that. Where it stumbled there is no block of text, so that the lines which
    follow and begin with # are comments as well.
    """
    if problem.problem_mark is None or not (problem.problem or "").endswith(_STUMBLES):
        return text
    lines = text.split("\n")
    number = problem.problem_mark.line
    if number >= len(lines) or "\t" not in lines[number].partition("#")[0]:
        return text
    while number < len(lines) and lines[number].lstrip(" \t").startswith("#"):
        lines[number] = ""
        number += 1
    return "\n".join(lines)


def _code(problem: yaml.reader.ReaderError) -> int:
    character: Any = problem.character
    if isinstance(character, int):
        return character
    return ord(character[:1] or b"\0")


def _decode(data: bytes, file: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            raise error(Position(file, 0, 0), (), "is not UTF-16 text", "save the file as UTF-8") from None
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode()
    except UnicodeDecodeError as problem:
        raise not_utf_8(data, problem, file) from None


def _refuse_inner_marks(text: str, file: str) -> None:
    """A byte order mark at the beginning of a later line would count as a column of its indentation."""
    index = text.find("\n\ufeff") + 1
    if index:
        at = Position(file, text.count("\n", 0, index) + 1, 1)
        raise error(at, (), "is not YAML: a byte order mark (U+FEFF) within the file", "remove it")


def _position_of(text: str, index: int, file: str) -> Position:
    index = max(0, min(index, len(text)))
    return Position(file, text.count("\n", 0, index) + 1, index - (text.rfind("\n", 0, index) + 1) + 1)


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())


def _syntax_error(problem: yaml.MarkedYAMLError, file: str, text: str) -> ModelError:
    mark = problem.problem_mark or problem.context_mark
    at = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file, 0, 0)
    what = problem.problem or problem.context or "is not YAML"
    lines = text.split("\n")
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    hint = None
    if "nesting depth" in what:  # libyaml has a bound of its own, and reads ahead of us
        return _too_deep(at)
    if "\t" in line[: len(line) - len(line.lstrip())] or "cannot start any token" in what and "\t" in line:
        what, hint = "a tab is used for indentation", "YAML takes spaces only: replace the tab by spaces"
    elif "unexpected end of stream" in what:
        hint = "a quote or bracket before it is not closed"
    elif "mapping values are not allowed" in what:
        hint = "check the indentation of this line, and quote values that contain ': '"
    elif "could not find expected ':'" in what or "did not find expected key" in what:
        hint = "check the indentation and the quotes of this line and the one before it"
    return error(at, (), f"is not YAML: {what}", hint)


def _too_deep(at: Position) -> ModelError:
    return error(at, (), f"is nested more than {MAX_DEPTH} levels deep", "keep data in other files")


class _Builder:
    """Turns events into trees."""

    def __init__(self, file: str, limit: int) -> None:
        self.file = file
        self.limit = limit
        self.documents: list[tuple[Any, Position]] = []
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Any, int, Position] | None] = {}
        self.nodes = 0

    def feed(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._open(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors = {}

    def _at(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(self.file, mark.line + 1, mark.column + 1)

    def _count(self, nodes: int, at: Position) -> None:
        self.nodes += nodes
        if self.nodes > self.limit:
            problem = f"the files stand for more than {MAX_WRITTEN} values"
            raise error(
                at, self._path(), problem, "a compose file describes services; keep data in other files"
            )

    def _path(self) -> tuple[str | int, ...]:
        path: list[str | int] = []
        for frame in self._stack:
            if isinstance(frame.container, Seq):
                path.append(len(frame.container))
            elif isinstance(frame.key, str):
                path.append(frame.key)
        return tuple(path)

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        at = self._at(event)
        self._count(1, at)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.container, Map) and frame.key is None:
            self._key(frame, event, at)
            return
        value = self._scalar_value(event, at)
        size = 1 + len(event.value) // TEXT_OF_A_NODE
        self._count(size - 1, at)
        if event.anchor:
            self._anchors[event.anchor] = (value, size, at)
        self._add(value, size, at, event.tag)

    def _scalar_value(self, event: yaml.ScalarEvent, at: Position) -> Any:
        tag = event.tag
        if tag in (None, "!override") and event.implicit[0] or tag == "!override" and not event.style:
            value = resolve(event.value)
            return self._date(value, at) if isinstance(value, Date) else value
        if tag is None or not tag.startswith(_CORE):
            return event.value
        return self._tagged(tag[len(_CORE) :], event.value, at)

    def _date(self, value: Date, at: Position) -> Date:
        path = self._path()
        if any(isinstance(key, str) and key.startswith("x-") for key in path):
            return value.in_full()
        raise error(at, path, f"`{value}` is read as a date", f'write it in quotes: "{value}"')

    def _tagged(self, tag: str, text: str, at: Position) -> Any:
        if tag == "binary":
            try:
                import base64

                return base64.b64decode(text).decode("utf-8", "surrogateescape")
            except ValueError:
                raise error(at, self._path(), "is not base64, as !!binary says", "remove the tag") from None
        if tag not in ("null", "bool", "int", "float", "timestamp"):
            return text
        value = resolve(text)
        if tag == "timestamp" and isinstance(value, Date):
            return self._date(value, at)
        kinds: dict[str, tuple[type, ...]] = {
            "null": (type(None),),
            "bool": (bool,),
            "int": (int,),
            "float": (int, float),
            "timestamp": (Date,),
        }
        if not isinstance(value, kinds[tag]) or (tag == "int" and isinstance(value, bool)):
            raise error(
                at,
                self._path(),
                f"`{text}` is not of the type that !!{tag} says",
                "remove the tag, or write a value of that type",
            )
        return float(value) if tag == "float" and isinstance(value, (int, float)) else value

    def _key(self, frame: _Frame, event: yaml.ScalarEvent, at: Position) -> None:
        plain = event.implicit[0] and event.tag is None
        if plain and event.value == "<<" or event.tag == f"{_CORE}merge":
            key: Any = _MERGE
        else:
            tag = (event.tag or "").removeprefix(_CORE)
            typed = event.tag == f"{_CORE}{tag}" and tag in _KEY_TYPES
            value = self._tagged(tag, event.value, at) if typed else event.value
            key = value if tag == "binary" else event.value
            value = resolve(key) if plain else value
            if not isinstance(value, str):
                raise error(
                    at, self._path(), f"the key `{key}` is not a string", f'write it in quotes: "{key}"'
                )
            if event.anchor:
                self._anchors[event.anchor] = (key, 1, at)
        name = "<<" if key is _MERGE else key
        if name in frame.seen:
            first = frame.seen[name]
            raise error(
                at,
                (*self._path(), name),
                f"the key is there twice, first in line {first.line}",
                "remove one of them, or put both values below one key",
            )
        frame.seen[name] = at
        frame.key, frame.key_at = key, at

    def _open(self, event: Any) -> None:
        at = self._at(event)
        self._count(1, at)
        if self._stack and isinstance(self._stack[-1].container, Map) and self._stack[-1].key is None:
            raise error(at, self._path(), "a key must be a string", "remove the `?` or the brackets")
        if len(self._stack) >= MAX_DEPTH:
            raise _too_deep(at)
        container: Map | Seq = Map(at) if isinstance(event, yaml.MappingStartEvent) else Seq(at)
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Frame(container, event.anchor, event.tag))

    def _close(self) -> None:
        frame = self._stack.pop()
        container = frame.container
        if isinstance(container, Map) and frame.merges:
            self._merge(container, frame)
        if frame.anchor:
            self._anchors[frame.anchor] = (container, frame.size, container.start)
        self._add(container, frame.size, container.start, frame.tag)

    def _alias(self, event: yaml.AliasEvent) -> None:
        at = self._at(event)
        name = event.anchor
        if name not in self._anchors:
            hint = f"write `&{name}` before what it stands for, or quotes if `*` is part of the text"
            raise error(at, self._path(), f"there is no anchor `&{name}` before this alias", hint)
        anchored = self._anchors[name]
        if anchored is None:
            problem = f"the alias `*{name}` stands inside of what it stands for"
            raise error(at, self._path(), problem, "write the value itself in its place")
        value, size, _ = anchored
        self._count(size, at)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.container, Map) and frame.key is None:
            if not isinstance(value, str):
                raise error(at, self._path(), "a key must be a string", "write the key out")
            frame.key, frame.key_at = value, at
            return
        self._add(clone(value), size, at, None)

    def _add(self, value: Any, size: int, at: Position, tag: str | None) -> None:
        if not self._stack:
            self.documents.append((value, at))
            return
        frame = self._stack[-1]
        frame.size += size
        container = frame.container
        if isinstance(container, Seq):
            if tag != "!reset":
                container.add(value, at)
            return
        key, key_at = frame.key, frame.key_at or at
        frame.key = None
        if key is _MERGE:
            frame.merges.append((value, at))
            return
        if tag == "!reset":
            value = RESET
        elif tag == "!override":
            container.overrides.add(key)
        container.put(key, value, (key_at, at))

    def _merge(self, container: Map, frame: _Frame) -> None:
        """``<<``: what is not there yet comes from the named mappings, the first of them wins."""
        for value, at in frame.merges:
            sources = value if isinstance(value, Seq) else [value]
            for source in sources:
                if not isinstance(source, Map):
                    hint = "write `<<: *NAME`, with `&NAME` before a mapping"
                    raise error(at, (*self._path(), "<<"), "must be a mapping or a list of mappings", hint)
                for key, item in source.items():
                    if container.get(key) is RESET and item is not RESET:
                        # the tag is about other files; what this file's anchor says stays
                        container[key] = item
                        container.overrides.add(key)
                    elif key not in container:
                        container.put(key, item, source.at.get(key))
                        if key in source.overrides:
                            container.overrides.add(key)
