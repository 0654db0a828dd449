"""Where things come from: the candidates for a variable's value, and the layers of a merged value.

Nothing of what a load does is done again here. Variables are explained by an interpolator that notes who
asks for them and by the record that `Inputs` keeps of .env files; values by a watcher that is shown each tree
before it is laid over the ones before it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from compose.errors import ComposeError, ModelError, UsageError
from compose.model.assemble import Loading, assemble
from compose.model.environment import read_env_files
from compose.model.final import canonical
from compose.model.interpolate import (
    Interpolator,
    InvalidTemplate,
    MissingVariable,
    Template,
    TooLong,
    closing_braces,
)
from compose.model.loader import similar
from compose.model.merge import replaces
from compose.model.tree import RESET, Map, Path, Position, Seq, clone, dotted, plain
from compose.model.variables import Variable, collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compose.model.request import Request


class Candidate(NamedTuple):
    """One value that might count."""

    state: str
    """``wins``, ``loses``, or ``merged`` for a mapping or list to which several places add."""
    place: str
    """``file:line:column``, or what is no file: ``environment``."""
    value: Any
    """None: there is none, as a variable may be named without a value."""
    note: str = ""


class Explanation(NamedTuple):
    """What was asked for, what it came to, and why."""

    subject: str
    value: Any
    candidates: list[Candidate]
    problem: ComposeError | None = None
    """What kept the files from being loaded; what is known up to there is told all the same."""


# -- variables --------------------------------------------------------------------------------------------


class _Use(NamedTuple):
    at: Position
    path: Path
    text: str
    lookup: Callable[[str], str | None]


class _Recorder(Interpolator):
    """Notes every value that asks for one variable."""

    def __init__(
        self,
        lookup: Callable[[str], str | None],
        warn: Callable[[Position, str], None],
        name: str,
        uses: dict[tuple[Position, Path], _Use],
    ) -> None:
        super().__init__(lookup, warn)
        self.name = name
        self.uses = uses

    def with_lookup(self, lookup: Callable[[str], str | None]) -> Interpolator:
        other = _Recorder(lookup, self._warn, self.name, self.uses)
        other._total = self._total
        return other

    def text(self, text: str, at: Position, path: Path) -> str:
        found: dict[str, Variable] = {}
        collect(text, found)
        if self.name in found:
            self.uses.setdefault((at, path), _Use(at, path, text, self._lookup))
        return super().text(text, at, path)


def explain_variable(request: Request, name: str) -> list[Explanation]:
    """The candidates for a variable: in interpolation first, then in the environment of each service."""
    loading = Loading(request)
    uses: dict[tuple[Position, Path], _Use] = {}
    loading.interpolator = _Recorder(loading.lookup, loading.warn, name, uses)
    tree: Map | None = None
    problem: ComposeError | None = None
    try:
        tree = loading.tree()
        canonical(tree)
    except ModelError as error:
        problem = error
    value, candidates = _interpolation(loading, name, list(uses.values()))
    result = [Explanation(name, value, candidates, problem)]
    services = tree.get("services") if tree is not None else None
    for service_name, service in sorted((services or {}).items()):
        found = _container(loading, service_name, service, name)
        if found:
            wins = next((one.value for one in found if one.state == "wins"), None)
            result.append(Explanation(f"services.{service_name}.environment.{name}", wins, found))
    return result


def _interpolation(loading: Loading, name: str, uses: list[_Use]) -> tuple[str | None, list[Candidate]]:
    result = []
    won = False

    def add(place: str, value: str, note: str = "") -> None:
        nonlocal won
        result.append(Candidate("loses" if won else "wins", place, value, note))
        won = True

    if name == "COMPOSE_PROJECT_NAME":
        add("project", loading.name, "the project's name")
    if name in loading.request.environment:
        add("environment", loading.request.environment[name])
    for variable, at, value in reversed(loading.inputs.assignments):
        if variable == name:
            add(str(at), value)
    for use in uses:
        result += _defaults(name, use)
    for use in uses:
        if use.lookup(name) is None and not any(_operators(name, use)):
            result.append(Candidate("wins", str(use.at), "", f"not set: empty in {dotted(use.path)}"))
    return loading.lookup(name), result


def _operators(name: str, use: _Use) -> Iterator[str]:
    """What stands after the name in each ``${NAME...}`` of a text: ``:-default``, or nothing."""
    index = 0
    while (index := use.text.find("${" + name, index)) >= 0:
        try:
            rest = use.text[index + 2 + len(name) : closing_braces(use.text).get(index + 1, -1)]
        except InvalidTemplate:
            return
        if rest and rest[0] in ":-?+":
            yield rest
        index += 2


def _defaults(name: str, use: _Use) -> Iterator[Candidate]:
    """The operands of a variable where they are used; each one counts at its own place only."""
    value = use.lookup(name)
    for rest in _operators(name, use):
        empty_too = rest.startswith(":")
        operator, operand = rest.removeprefix(":")[:1], rest.removeprefix(":")[1:]
        there = value is not None and (value != "" or not empty_too)
        try:
            text = Template(use.lookup).substitute(operand)
        except (InvalidTemplate, MissingVariable, TooLong):
            text = operand
        where = dotted(use.path)
        if operator == "-":
            yield Candidate("loses" if there else "wins", str(use.at), text, f"default in {where}")
        elif operator == "+":
            yield Candidate("wins" if there else "loses", str(use.at), text, f"in its place in {where}")
        elif operator == "?":
            yield Candidate("loses" if there else "wins", str(use.at), None, f"needed in {where}")


def _container(loading: Loading, name: str, service: Map, variable: str) -> list[Candidate]:
    """Where a variable of a container comes from: `environment` before `env_file`, later files first."""
    result = []
    own = service.get("environment")
    if isinstance(own, Map) and variable in own:
        result.append(Candidate("wins", str(own.where(variable)[1]), own[variable], "environment"))
    files = service.get("env_file")
    for entry, at in reversed(list(files.entries())) if isinstance(files, Seq) else ():
        alone = Map(service.start)
        alone.put("env_file", Seq(at), (at, at))
        alone["env_file"].add(entry, at)
        read_env_files(alone, name, loading.inputs, loading.lookup)
        found = alone.get("environment") or {}
        if variable in found:
            state = "loses" if result else "wins"
            place = str(alone["environment"].where(variable)[1])
            result.append(Candidate(state, place, found[variable], "env_file"))
    return result


# -- values -----------------------------------------------------------------------------------------------


class _Layer(NamedTuple):
    at: Position
    value: Any
    counts: bool
    """Whether what is in force holds something of it: no later file replaced it."""


def explain_value(request: Request, wanted: str) -> Explanation:
    """The layers of the value at a path such as ``services.web.image``, the one that counts first."""
    seen: list[tuple[Map, Path]] = []

    def watch(tree: Map, prefix: Path) -> None:
        seen.append((clone(tree), prefix))

    if not wanted.strip():
        raise UsageError("the path is empty", hint="write one such as services.web.image")
    project, _ = assemble(request, watch=watch)
    document: dict[str, Any] = {
        key: value for key, value in project.data().items() if isinstance(value, dict) and key != "disabled"
    }
    document["services"] = {**project.services, **project.disabled}
    document |= {"name": project.name, **project.extensions}
    path, value = _resolve(document, wanted, [tree for tree, prefix in seen if not prefix])
    layers: list[_Layer] = []
    for tree, prefix in seen:
        found, alone = _find(tree, path, prefix)
        if found is None or found[0] not in [layer.at for layer in layers]:
            if alone:
                layers = [layer._replace(counts=False) for layer in layers]
            if found is not None:
                layers.append(_Layer(*found, counts=True))
    return Explanation(dotted(path), value, _candidates(layers, project.where(path), value, path))


def _candidates(layers: list[_Layer], place: Position, value: Any, path: Path) -> list[Candidate]:
    counting = [layer for layer in layers if layer.counts]
    result = []
    if not counting:
        listed = any(isinstance(part, int) for part in path)
        from_file = path[2:3] in (("environment",), ("labels",))
        result.append(Candidate("wins", str(place), value, "" if listed or from_file else "implied"))
    elif not isinstance(value, (dict, list)):
        layers = [layer._replace(value=value if layer is counting[-1] else layer.value) for layer in layers]
        layers = [layer._replace(counts=layer.at == counting[-1].at) for layer in layers]
    wins = "merged" if isinstance(value, (dict, list)) and len(counting) > 1 else "wins"
    for layer in reversed(layers):
        result.append(Candidate(wins if layer.counts else "loses", str(layer.at), layer.value))
    return result


def _resolve(document: Any, text: str, layers: list[Map]) -> tuple[Path, Any]:
    """The path that a text means, and what is there; keys may hold dots."""
    path: Path = ()
    value, rest = document, text
    while rest:
        key, length = _next_key(value, rest)
        if key is None:
            known = list(value) if isinstance(value, dict) else []
            word = rest.partition(".")[0].partition("[")[0]
            where = f"{dotted(path)} has no" if path else "there is no"
            hint = similar(word, known) or (f"it has {', '.join(map(str, known[:12]))}" if known else None)
            reset = next(filter(None, (_reset(tree, text) for tree in reversed(layers))), None)
            hint = f"{reset} takes it away: !reset" if reset else hint
            raise UsageError(f"{where} `{rest}`", hint=hint)
        path = (*path, key)
        value, rest = value[key], rest[length:].removeprefix(".")
    return path, value


def _next_key(value: Any, text: str) -> tuple[str | int | None, int]:
    if isinstance(value, list):
        index = re.match(r"\[(\d+)\]|(\d+)(?![^.\[])", text)
        number = int(index[1] or index[2]) if index else len(value)
        return (number, index.end()) if index and number < len(value) else (None, 0)
    if isinstance(value, dict):
        for key in sorted(value, key=len, reverse=True):
            if text == key or text.startswith((f"{key}.", f"{key}[")):
                return key, len(key)
    return None, 0


def _reset(tree: Any, text: str) -> Position | None:
    """Where a layer takes away what is at a path."""
    value, place, rest = tree, None, text
    while rest and value is not RESET:
        key, length = _next_key(value, rest)
        if key is None:
            return None
        place = value.where(str(key))[1] if isinstance(value, Map) else place
        value, rest = value[key], rest[length:].removeprefix(".")
    return place if value is RESET else None


def _find(tree: Any, path: Path, prefix: Path) -> tuple[tuple[Position, Any] | None, bool]:
    """What a layer says at a path, with its place, and whether it puts aside what the earlier ones say.

    Nothing for items of lists, which move when merged.
    """
    if path[: len(prefix)] != prefix or len(path) == len(prefix):
        return None, False
    found: tuple[Position, Any] | None = None
    value, alone = tree, False
    for index, part in enumerate(path[len(prefix) :], len(prefix) + 1):
        if isinstance(value, Map) and part in value:
            alone = alone or part in value.overrides or value[str(part)] is RESET or replaces(path[:index])
            found = value.where(str(part))[1], value[str(part)]
        elif isinstance(value, Seq) and isinstance(part, str):
            items = [(at, one) for one, at in value.entries() if str(one).partition("=")[0] == part]
            if not items:
                return None, alone
            at, item = items[-1]
            found = at, str(item).partition("=")[2] if "=" in str(item) else None
        else:
            return None, alone
        value = found[1]
    return (None if found is None or value is RESET else (found[0], plain(value))), alone
