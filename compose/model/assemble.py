"""Request -> Project, from the beginning: find the files, load them, fill in, check, select."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from compose.errors import UsageError
from compose.model import find, parse
from compose.model.budget import NoCollector
from compose.model.check import check
from compose.model.environment import read_env_files, read_label_files
from compose.model.final import canonical
from compose.model.inputs import Inputs
from compose.model.interpolate import Interpolator, lookup_in
from compose.model.loader import Group
from compose.model.names import check_name, normalised_name
from compose.model.normalise import normalise, resolve_variables
from compose.model.order import quick_order
from compose.model.project import RESOURCES, Project, used_resources
from compose.model.request import ALL_RESOURCES, COMPATIBILITY
from compose.model.tree import Map, Path, Position, Seq, clone, plain, printable
from compose.model.unsupported import warn_of_unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from compose.model.request import Request


MAX_WARNINGS = 1000


class Loading:
    """One load on its way: what was found, which variables there are, what was warned of."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.inputs = Inputs(request.environment, request.cwd)
        self.found = find.find(self.inputs, request.files, request.project_directory, request.env_files)
        self.variables = dict(self.found.dotenv)
        self.environment_lookup = lookup_in(self.variables, self.inputs.variable)
        self.warnings: list[str] = list(self.found.warnings)
        self._warned = set(self.warnings)
        self.interpolator = Interpolator(self.lookup, self.warn, self.inputs.budget)
        self.watch: Callable[[Map, Path], None] | None = None
        self.name = ""

    def lookup(self, name: str) -> str | None:
        """A variable of the project: the process's, then .env's; COMPOSE_PROJECT_NAME is the name."""
        if name == "COMPOSE_PROJECT_NAME" and self.name:
            return self.name
        return self.environment_lookup(name)

    def _name_alone(self, name: str) -> str | None:
        """What is known where variables are not replaced: names without a value then stay as they are."""
        return self.name if name == "COMPOSE_PROJECT_NAME" else None

    def warn(self, at: Position, text: str) -> None:
        """Note a warning, once."""
        line = printable(f"{at}: {text}")
        if line not in self._warned:
            self._warned.add(line)
            if len(self._warned) <= MAX_WARNINGS:
                self.warnings.append(line)

    def all_warnings(self) -> list[str]:
        """What there is to say; nobody reads a thousand lines."""
        more = len(self._warned) - MAX_WARNINGS
        return (
            [*self.warnings, f"{more} more warnings of this kind are left out"] if more > 0 else self.warnings
        )

    def has(self, switch: str) -> bool:
        """Whether a pass is switched off, such as ``no-interpolate``."""
        return switch in self.request.switches

    def find_name(self) -> None:
        """The project's name: -p, COMPOSE_PROJECT_NAME, the last `name:` of the files, the directory's."""
        chosen = self.request.project_name or self.environment_lookup("COMPOSE_PROJECT_NAME")
        if self.found.fig:
            from compose.model.fig import fig_name

            chosen = self.request.project_name or self.inputs.variable("FIG_PROJECT_NAME") or chosen
            self.name = fig_name(chosen or os.path.basename(os.path.dirname(self.found.files[0])))
            return
        if chosen:
            self.name = check_name(chosen)
            return
        written = self._written_name()
        text = self.found.directory.rstrip("/").rpartition("/")[2] if written is None else written
        self.name = normalised_name(text)
        if self.has("no-normalize") and written:
            self.name = written
        if not self.name:
            problem = f"no name for the project can be made of `{text}`"
            raise UsageError(problem, hint="give it one: -p NAME")

    def _written_name(self) -> str | None:
        name: str | None = None
        for file in self.found.files:
            if not any(line.lstrip().startswith((b"name", b'"name', b"'name")) for line in self._lines(file)):
                continue
            for document, _ in parse.documents(self.inputs.read(file), self.inputs.shown(file)):
                value = document.get("name") if isinstance(document, Map) else None
                if isinstance(value, str) and value:
                    name = value
                    if not self.has("no-interpolate"):
                        name = self.interpolator.text(value, document.where("name")[1], ("name",))
        return name

    def _lines(self, file: str) -> list[bytes]:
        return self.inputs.read(file).splitlines()

    def tree(self) -> Map:
        """The files as one tree, validated and with what they imply, not yet in canonical form."""
        self.find_name()
        group = self._group()
        group.project = self.name
        tree = group.load(self.found.files)
        if not self.has("no-normalize"):
            tree["name"] = self.name
            normalise(tree, self.name, group.lookup)
        return tree

    def _group(self) -> Group:
        resolve_paths = not self.has("no-path-resolution")
        inputs, directory = self.inputs, self.found.directory
        if self.found.fig:
            from compose.model.fig import FigGroup

            kind: type[Group] = FigGroup
            interpolator = None
        else:
            kind = Group
            interpolator = None if self.has("no-interpolate") else self.interpolator
        return kind(
            inputs,
            directory,
            self._name_alone if self.has("no-interpolate") else self.lookup,
            interpolator,
            self.warn,
            resolve_paths=resolve_paths,
            with_variables=self.has("no-interpolate"),
            watch=self.watch,
        )


def assemble(request: Request, watch: Callable[[Map, Path], None] | None = None) -> tuple[Project, Inputs]:
    """The project, and the record of what was read for it; `watch` sees each tree before it is merged."""
    with NoCollector():
        return _assemble(Loading(request), watch)


def _assemble(loading: Loading, watch: Callable[[Map, Path], None] | None) -> tuple[Project, Inputs]:
    request = loading.request
    loading.watch = watch
    tree = loading.tree()
    if not isinstance(tree.get("services"), Map):
        tree.put("services", Map(tree.start))
    warned = clone(tree)
    canonical(tree)
    profiles = _profiles(loading)
    disabled = _split(tree, profiles, request.services)
    if not loading.has("no-consistency"):
        check(tree, set(disabled))
    for name, service in tree["services"].items():
        if not loading.has("no-env-resolution"):
            if "environment" in service:  # what was normalised holds no name without a value any more
                service["environment"] = resolve_variables(service["environment"], loading.lookup, keep=True)
            read_env_files(service, name, loading.inputs, loading.lookup)
        read_label_files(service, name, loading.inputs)
    order = _order(tree)
    if not loading.has(ALL_RESOURCES):
        _prune(tree)
    for kind in ("services", *RESOURCES):
        for key in [key for key in warned.get(kind) or () if key not in tree.get(kind, ())]:
            del warned[kind][key]
    warn_of_unsupported(warned, loading.warn)
    for text, at in loading.inputs.unset.items():
        loading.warn(at, text)
    return _project(loading, tree, disabled, profiles, order), loading.inputs


def assemble_tree(request: Request) -> dict[str, Any]:
    """The merged files as plain values, before the canonical form."""
    with NoCollector():
        tree: dict[str, Any] = plain(Loading(request).tree())
    for kind in ("services", *RESOURCES):
        if not tree.get(kind):
            tree.pop(kind, None)
    return tree


def assemble_environment(request: Request) -> dict[str, str]:
    """The variables that interpolation sees, of a project that is in order."""
    loading = Loading(request)
    _assemble(loading, None)
    values = {**loading.found.dotenv, "PWD": request.cwd, **request.environment}
    values["COMPOSE_PROJECT_NAME"] = loading.name
    return values


def _profiles(loading: Loading) -> list[str]:
    if loading.request.profiles:
        return list(loading.request.profiles)
    value = loading.environment_lookup("COMPOSE_PROFILES") or ""
    return [one.strip() for one in value.split(",") if one.strip()]


def _split(tree: Map, profiles: list[str], named: tuple[str, ...]) -> Map:
    """Take the services out of the tree whose profiles are not active; returns them."""
    services = tree["services"]
    active = set(profiles)
    for name in named:
        if name in services:
            active.update(services[name].get("profiles") or ())
    disabled = Map(services.start)
    for name, service in list(services.items()):
        own = service.get("profiles") or ()
        if own and "*" not in active and not active.intersection(own):
            disabled.put(name, service, services.where(name))
            del services[name]
    return disabled


def _order(tree: Map) -> list[str]:
    """The services, each after those it depends on; networkx is needed only to name a circle."""
    services = tree["services"]
    order = quick_order(services)
    if order is not None:
        return order
    from compose.graph import service_graph, start_order

    places = {
        (name, other): service["depends_on"].where(other)[0]
        for name, service in services.items()
        for other in service.get("depends_on") or ()
    }
    return start_order(service_graph(services), places)


def _prune(tree: Map) -> None:
    """Leave out the networks, volumes, configs, secrets and models that no active service uses."""
    used = used_resources(tree["services"])
    for kind in RESOURCES:
        section = tree.get(kind)
        if isinstance(section, Map):
            for key in [key for key in section if key not in used[kind]]:
                del section[key]


def _project(loading: Loading, tree: Map, disabled: Map, profiles: list[str], order: list[str]) -> Project:
    data: dict[str, Any] = {kind: _sorted(plain(tree.get(kind) or {})) for kind in ("services", *RESOURCES)}
    data["disabled"] = _sorted(plain(disabled))
    data["extensions"] = {key: plain(value) for key, value in tree.items() if key.startswith("x-")}
    data["separator"] = _separator(loading, data["extensions"])
    data["all_resources"] = loading.has(ALL_RESOURCES)
    data["name"] = loading.name
    data["directory"] = loading.found.directory
    data["files"] = list(loading.found.files)
    data["env_files"] = find.named_env_files(loading.inputs, loading.request.env_files)
    data["profiles"] = profiles
    data["order"] = order
    data["warnings"] = loading.all_warnings()
    data["positions"] = _positions(tree)
    return Project(data)


def _separator(loading: Loading, extensions: dict[str, Any]) -> str:
    """``_`` where it is asked for, and in a fig.yml, which says so in an extension."""
    own = extensions.get("x-pycompose")
    in_file = isinstance(own, dict) and own.get("separator") == "_"
    return "_" if in_file or loading.has(COMPATIBILITY) else "-"


def _sorted(section: dict[str, Any]) -> dict[str, Any]:
    return {key: section[key] for key in sorted(section)}


def _positions(tree: Map) -> list[Any]:
    """The place of every key, for messages that are made later: the files, and a tree of their numbers.

    A node is [file's number, line, column], with the nodes below it, if there are any, as a fourth entry.
    """
    files: dict[str, int] = {}

    def node(at: Position, value: Any) -> list[Any]:
        place: list[Any] = [files.setdefault(at[0], len(files)), at[1], at[2]]
        if value and isinstance(value, (Map, Seq)):
            place.append(below(value))
        return place

    def below(value: Map | Seq) -> Any:
        if isinstance(value, Map):
            return {key: node(value.where(key)[0], item) for key, item in value.items()}
        return [node(value.where(index), item) for index, item in enumerate(value)]

    nodes = below(tree)
    return [list(files), nodes]
