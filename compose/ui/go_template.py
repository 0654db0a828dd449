"""Templates of Go, as far as formats of lists are made of them.

Known are fields (``{{.Name}}``, also of what is in them), variables, texts, numbers, ``if``, ``range`` and
``with`` with their ``else``, comparisons, and the functions of `FUNCTIONS`, called with arguments or at the
end of a pipe. Anything else is a `UsageError` that names it.
"""

from __future__ import annotations

import json
import re

from compose.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

_ACTION = re.compile(r'\{\{(-\s)?\s*((?:"(?:[^"\\]|\\.)*"|`[^`]*`|[^"`])*?)\s*(\s-)?\}\}', re.DOTALL)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|:=|[|()=,]|[^\s|()=,:]+|\S')
_BLOCKS = ("if", "range", "with")


class Node:
    """A part of a template: a text, an action, or a block with what is in it."""

    __slots__ = ("body", "kind", "otherwise", "text", "words")

    def __init__(self, kind: str, *, text: str = "", words: Sequence[str] = ()) -> None:
        self.kind = kind
        self.text = text
        self.words = list(words)
        self.body: list[Node] = []
        self.otherwise: list[Node] = []


def parse(text: str) -> list[Node]:
    """The template as a tree; raises `UsageError`."""
    pieces = iter(list(_pieces(text)))
    nodes, end = _block(pieces, text)
    if end:
        raise UsageError(f"--format {text}: '{end[0]}' without a beginning")
    return nodes


def _pieces(text: str) -> Iterator[str | list[str]]:
    """Texts, and the words of what stands in braces."""
    place = 0
    for found in _ACTION.finditer(text):
        if found.start() < place:  # inside of what has been trimmed away there is no action
            continue
        before = text[place : found.start()]
        yield before.rstrip() if found.group(1) else before
        inside = found.group(2)
        if not inside.startswith("/*"):
            yield _TOKEN.findall(inside)
        place = found.end()
        if found.group(3):
            place += len(text[place:]) - len(text[place:].lstrip())
    rest = text[place:]
    if "{{" in rest:
        raise UsageError(f"--format {text}: '{{{{' without '}}}}'")
    yield rest


def _block(pieces: Iterator[str | list[str]], whole: str) -> tuple[list[Node], list[str]]:
    """What comes up to an ``else``, an ``end`` or the end of it all, and the words that ended it."""
    nodes: list[Node] = []
    for piece in pieces:
        if isinstance(piece, str):
            nodes.append(Node("text", text=piece))
        elif piece and piece[0] in ("else", "end"):
            return nodes, piece
        elif piece and piece[0] in _BLOCKS:
            nodes.append(_nested(piece, pieces, whole))
        else:
            nodes.append(Node("action", words=piece))
    return nodes, []


def _nested(words: list[str], pieces: Iterator[str | list[str]], whole: str) -> Node:
    node = Node(words[0], words=words[1:])
    node.body, end = _block(pieces, whole)
    if end[:1] == ["else"]:
        if end[1:2] and end[1] in _BLOCKS:  # else if: its end is ours
            node.otherwise = [_nested(end[1:], pieces, whole)]
            return node
        node.otherwise, end = _block(pieces, whole)
    if end != ["end"]:
        raise UsageError(f"--format {whole}: {{{{{node.kind}}}}} without {{{{end}}}}")
    return node


def expand(nodes: Sequence[Node], row: Mapping[str, Any]) -> str:
    """The text for one row; raises `UsageError` for fields that there are not."""
    return "".join(_expand(nodes, row, {"$": row}))


def _expand(nodes: Sequence[Node], dot: Any, variables: dict[str, Any]) -> Iterator[str]:
    for node in nodes:
        if node.kind == "text":
            yield node.text
        elif node.kind == "action":
            names, words = _assigned(node.words)
            value = _pipeline(words, dot, variables)
            if names:
                variables[names[0]] = value
            else:
                yield show(value)
        elif node.kind == "range":
            yield from _range(node, dot, variables)
        else:
            names, words = _assigned(node.words)
            value = _pipeline(words, dot, variables)
            inner = {**variables, **{name: value for name in names}}
            below = value if node.kind == "with" else dot
            if truth(value):
                yield from _expand(node.body, below, inner)
            else:
                yield from _expand(node.otherwise, dot, variables)


def _range(node: Node, dot: Any, variables: dict[str, Any]) -> Iterator[str]:
    names, words = _assigned(node.words)
    value = _pipeline(words, dot, variables)
    if isinstance(value, dict):
        pairs = sorted(value.items())
    elif isinstance(value, (list, tuple)):
        pairs = list(enumerate(value))
    elif value is None:
        pairs = []
    else:
        raise UsageError(f"--format: range over {show(value)}, which is no list")
    if not pairs:
        yield from _expand(node.otherwise, dot, variables)
    for key, one in pairs:
        found = [key, one] if len(names) == 2 else [one]
        yield from _expand(node.body, one, {**variables, **dict(zip(names, found, strict=False))})


def _assigned(words: list[str]) -> tuple[list[str], list[str]]:
    """The variables before ``:=``, and what is behind."""
    for sign in (":=", "="):
        if sign in words:
            place = words.index(sign)
            names = [word for word in words[:place] if word != ","]
            if not names or any(not name.startswith("$") for name in names):
                raise UsageError(f"--format: {' '.join(words)}: only variables can be set", hint=KNOWN)
            return names, words[place + 1 :]
    return [], words


def _pipeline(words: Sequence[str], dot: Any, variables: Mapping[str, Any]) -> Any:
    piped: list[Any] = []
    for stage in _stages(words):
        if not stage:
            raise UsageError("--format: a pipe with nothing in it")
        piped = [_stage(stage, piped, dot, variables)]
    return piped[0]


def _stages(words: Sequence[str]) -> list[list[str | list[str]]]:
    """The words between the pipes; those in parentheses as one list each."""
    stages: list[list[str | list[str]]] = [[]]
    inside: list[str] = []
    depth = 0
    for word in words:
        depth -= word == ")"
        if depth:
            inside.append(word)
        elif word == ")":
            stages[-1].append(inside)
        elif word == "|":
            stages.append([])
        elif word != "(":
            stages[-1].append(word)
        if word == "(":
            inside = inside if depth else []
            depth += 1
        if depth < 0:
            break
    if depth:
        raise UsageError("--format: a parenthesis without its other half")
    return stages


def _stage(words: list[str | list[str]], piped: list[Any], dot: Any, variables: Mapping[str, Any]) -> Any:
    first, *rest = words
    if isinstance(first, str) and first in FUNCTIONS:
        call = FUNCTIONS[first]
    else:
        call = _operand(first, dot, variables)
        if not callable(call):
            if rest or piped:
                raise UsageError(f"--format: {_said(first)} is no function that is known here", hint=KNOWN)
            return call
    arguments = [_operand(word, dot, variables) for word in rest] + piped
    try:
        return call(*arguments)
    except (TypeError, ValueError, LookupError) as error:
        raise UsageError(f"--format: {_said(first)}: {error}") from None


def _said(word: str | list[str]) -> str:
    return word if isinstance(word, str) else f"({' '.join(word)})"


def _operand(word: str | list[str], dot: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(word, list):
        return _pipeline(word, dot, variables)
    if word == ".":
        return dot
    if word[0] in ".$":
        first, *names = word.split(".")
        if first and first not in variables:
            raise UsageError(f"--format: there is no variable {first}")
        return _field(word, names, variables[first] if first else dot)
    if word[0] == '"':
        return json.loads(word)
    if word[0] == "`":
        return word[1:-1]
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    try:
        return int(word) if word.lstrip("-").isdecimal() else float(word)
    except ValueError:
        raise UsageError(f"--format: {word} is not known here", hint=KNOWN) from None


def _field(word: str, names: Sequence[str], value: Any) -> Any:
    for name in names:
        if not isinstance(value, dict) or name not in value:
            there = (
                [key for key, one in value.items() if not callable(one)] if isinstance(value, dict) else []
            )
            hint = f"there are {', '.join(there)}" if there else None
            raise UsageError(f"--format: there is no field {word}", hint=hint)
        value = value[name]
    return value


def truth(value: Any) -> bool:
    """Whether Go's templates take it for true: not what is zero or empty."""
    return bool(value)


def show(value: Any) -> str:
    """As Go's fmt prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + " ".join(show(entry) for entry in value.values() if not callable(entry)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(show(entry) for entry in value) + "]"
    return "<nil>" if value is None else str(value)


def as_json(value: Any) -> str:
    """One line of JSON, without what a row can only be asked for."""
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if not callable(one)}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _equal(first: Any, *others: Any) -> bool:
    for other in others:
        if type(first) is not type(other) and not {type(first), type(other)} <= {int, float}:
            raise ValueError(f"{show(first)} and {show(other)} are of different kinds")
    return first in others


def _first(wanted: bool, values: Sequence[Any]) -> Any:
    """The first value that is so, or the last one."""
    return next((value for value in values[:-1] if truth(value) is wanted), values[-1])


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, "") if isinstance(value, dict) else value[key]
    return value


_VERB = re.compile(r"%([-+# 0]*)(\d*)(?:\.(\d+))?([a-zA-Z%])")


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def one(found: re.Match[str]) -> str:
        flags, width, precision, verb = found.groups()
        if verb == "%":
            return "%"
        if not left:
            return f"%!{verb}(MISSING)"
        value = left.pop(0)
        if verb in "vst":
            value, verb = show(value), "s"
        elif verb == "q":
            value, verb = as_json(value), "s"
        elif verb not in "dxXofeEgG":
            raise ValueError(f"%{verb} is not known here")
        spelt = f"%{flags}{width}" + (f".{precision}" if precision is not None else "") + verb
        return str(spelt % value)

    return _VERB.sub(one, form)


_CONSTANTS = {"true": True, "false": False, "nil": None}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: _first(False, values),
    "or": lambda *values: _first(True, values),
    "not": lambda value: not truth(value),
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": lambda first, second: first < second,
    "le": lambda first, second: first <= second,
    "gt": lambda first, second: first > second,
    "ge": lambda first, second: first >= second,
    "index": _index,
    "json": as_json,
    "upper": lambda text: str(text).upper(),
    "lower": lambda text: str(text).lower(),
    "title": lambda text: str(text).title(),
    "len": len,
    "join": lambda values, separator: str(separator).join(map(str, values)),
    "pad": lambda text, before, after: " " * before + str(text) + " " * after if text else "",
    "split": lambda text, separator: str(text).split(separator),
    "truncate": lambda text, length: str(text)[:length],
    "print": lambda *values: "".join(map(show, values)),
    "printf": _printf,
    "println": lambda *values: " ".join(map(show, values)) + "\n",
}
"""What can be called, by its name in Go's templates and in docker's."""
KNOWN = f"known are if, range, with, {', '.join(FUNCTIONS)}"
"""The hint for what is not."""
