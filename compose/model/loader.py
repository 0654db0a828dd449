"""Files -> one tree: each document is read, interpolated, checked, extended and laid over those before it.

The order is that of docker compose, so that every corner comes out alike: parse, interpolate, cast, include,
extends, merge, and when all files are merged: validate, defaults, absolute paths.
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Any

from compose.errors import ModelError
from compose.model import find, parse
from compose.model.casts import CASTS
from compose.model.interpolate import Interpolator, lookup_in
from compose.model.merge import UNIQUE, UNIQUE_PATHS, merge, strip_resets
from compose.model.places import DEFAULTS, Places
from compose.model.rules import check_rules
from compose.model.schema import validate
from compose.model.short import SHORT_FORMS, SHORT_FORMS_WITH_VARIABLES, check_numbers, unknown_options
from compose.model.tree import RESET, Map, Path, Position, Seq, clone, dotted, error, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from compose.model.inputs import Inputs

MAX_INCLUDES = 300
_ASKED = 500
"""So many names are looked through for one that was meant."""
CONTENT = "x-#content"
"""Where the value behind `environment` of a config or secret waits for the canonical form."""

_NO_FILE = "write its path, seen from the directory of the project or of the file that names it"
_RESOURCES = ("services", "volumes", "networks", "secrets", "configs", "models")


class Group:
    """Files that are merged together: those of the command line, or those of one `include`."""

    def __init__(
        self,
        inputs: Inputs,
        directory: str,
        lookup: Callable[[str], str | None],
        interpolator: Interpolator | None,
        warn: Callable[[Position, str], None],
        *,
        resolve_paths: bool = True,
        including: Sequence[str] = (),
        root: str | None = None,
        with_variables: bool = False,
        watch: Callable[[Map, Path], None] | None = None,
    ) -> None:
        self.short_forms = SHORT_FORMS_WITH_VARIABLES if with_variables else SHORT_FORMS
        self.with_variables = with_variables
        self.inputs = inputs
        self.directory = directory
        self.lookup = lookup
        self.interpolator = interpolator
        self.warn = warn
        self.resolve_paths = resolve_paths
        self.root = root if resolve_paths else directory
        """Where the paths of other files are seen from when they are not to become absolute."""
        self.including = tuple(including)
        self.project = ""
        """The project's name, where a format needs it."""
        self.watch = watch or _nobody
        """Is shown each tree before it is laid over others, and the path where it belongs."""

    def load(self, files: Sequence[str]) -> Map:
        """The files merged, validated, with defaults and absolute paths."""
        read = [(file, *document) for file in files for document in self.documents(file)]
        alone = len(read) == 1 and _stands_alone(read[0][1])
        result: Map | None = None
        for file, document, at in read:
            tree = self._prepared(document, at, partial=not alone)
            self._include(tree, file)
            if result is not None:
                _apply_marks(result, tree)
            Extends(self, file).apply(tree)
            self.finish(tree)
            self.watch(tree, ())
            result = tree if result is None else merge(result, tree)
            UNIQUE.apply(strip_resets(result))
        if result is None:
            result = Map(Position(self.inputs.shown(files[0]), 0, 0))
        if not alone:
            validate(result, partial=False)
        self._version(result)
        if not result and not self.including:
            shown = ", ".join(self.inputs.shown(file) for file in files)
            raise ModelError(f"{shown}: the file is empty", hint="write `services:` and a service below it")
        self.short_forms.apply(result)
        UNIQUE.apply(result)
        DEFAULTS.apply(result)
        check_rules(result)
        if self.resolve_paths:
            seen = self.directory if self.root is None else os.path.relpath(self.directory, self.root)
            Places(self.inputs, seen).resolve(result)
            UNIQUE_PATHS.apply(result)
        self._environment(result)
        return result

    def check_base(self, base: Map, over: Map, at: Position, path: Path) -> None:
        """Called for `over`, which extends `base`, a copy; refuses what may not be inherited."""

    def finish(self, tree: Map) -> None:
        """Called when all services of a document are whole."""

    def documents(self, file: str) -> list[tuple[Any, Position]]:
        """The documents of a file, as it stands."""
        return parse.documents(self.inputs.read(file), self.inputs.shown(file), self.inputs.budget)

    def _prepared(self, document: Any, at: Position, *, partial: bool = True) -> Map:
        if document is None:
            problem = "the file is empty, or has nothing between two `---`"
            raise error(at, (), problem, "write `services:` and a service below it, or remove the `---`")
        if not isinstance(document, Map):
            raise error(at, (), "a compose file is a mapping", "write `services:` and a service below it")
        if self.interpolator is not None:
            self.interpolator.tree(document)
            CASTS.apply(document)
        UNIQUE.apply(document)
        validate(document, partial=partial)
        check_numbers(document)
        self._unknown_options(document)
        self.short_forms.apply(document)
        self.inputs.budget.take(document, at)
        UNIQUE.apply(document)
        return document

    def _unknown_options(self, tree: Map) -> None:
        """Warn of options of volumes in short form that mean nothing."""
        services = tree.get("services")
        for name, service in services.items() if isinstance(services, Map) else ():
            volumes = service.get("volumes") if isinstance(service, Map) else None
            if not isinstance(volumes, Seq):
                continue
            for index, spec in enumerate(volumes):
                for option in unknown_options(spec) if isinstance(spec, str) else ():
                    where = dotted(("services", name, "volumes", index))
                    self.warn(volumes.where(index), f"{where}: ignored: there is no option `{option}`")

    def _version(self, tree: Map) -> None:
        if "version" in tree:
            self.warn(tree.where("version")[0], "version: is obsolete and ignored; remove it")
            del tree["version"]

    def _environment(self, tree: Map) -> None:
        """``- NAME`` takes its value from the group's variables; so do configs and secrets."""
        services = tree.get("services") or {}
        for service in services.values():
            listed = service.get("environment")
            if isinstance(listed, Seq):
                for index, item in enumerate(listed):
                    value = self.lookup(item) if isinstance(item, str) and "=" not in item else None
                    if value is not None:
                        listed[index] = f"{item}={value}"
        for kind in ("secrets", "configs"):
            for resource in (tree.get(kind) or {}).values():
                name = resource.get("environment") if isinstance(resource, Map) else None
                value = self.lookup(name) if isinstance(name, str) else None
                if value is not None:
                    resource[CONTENT] = value

    # -- include -------------------------------------------------------------------------------------

    def _include(self, tree: Map, file: str) -> None:
        entries = tree.pop("include", None)
        if not isinstance(entries, Seq):
            return
        for index, (entry, at) in enumerate(entries.entries()):
            path = ("include", index)
            imported = self._included(entry, file, at, path)
            for kind in _RESOURCES:
                self._import(tree, imported, kind, at)

    def _included(self, entry: Any, file: str, at: Position, path: tuple[str | int, ...]) -> Map:
        options = entry if isinstance(entry, Map) else {"path": entry}
        names = _as_list(options.get("path"))
        if not names:
            raise error(at, path, "names no file", "add `path: FILE`")
        files = [posixpath.normpath(os.path.join(self.directory, str(name))) for name in names]
        for one in files:
            if one in (*self.including, file):
                chain = " -> ".join(self.inputs.shown(name) for name in (*self.including, file, one))
                raise error(at, path, f"the files include each other: {chain}", "remove one of the includes")
            if self.inputs.kind(one) != "file":
                raise error(at, path, f"there is no file {self.inputs.shown(one)}", _NO_FILE)
        self.inputs.included += 1
        if self.inputs.included > MAX_INCLUDES:
            problem = f"more than {MAX_INCLUDES} files are included, each counted every time"
            raise error(at, path, problem, "include each of them once, in one file")
        chosen = options.get("project_directory")
        directory = os.path.join(self.directory, chosen) if chosen else os.path.dirname(files[0])
        directory = posixpath.normpath(directory)
        variables = self._included_variables(options, directory)
        lookup = lookup_in(variables, self.lookup)
        group = Group(
            self.inputs,
            directory,
            lookup,
            self.interpolator.with_lookup(lookup) if self.interpolator else None,
            self.warn,
            resolve_paths=True,
            including=(*self.including, file),
            root=None if self.root is None else self.directory,  # what is included is seen from here
            with_variables=self.with_variables,
            watch=self.watch,
        )
        return group.load(files)

    def _included_variables(self, options: Any, directory: str) -> dict[str, str]:
        variables: dict[str, str] = {}
        listed = _as_list(options.get("env_file"))
        if not listed:
            path = os.path.join(directory, ".env")
            if self.inputs.kind(path) == "file":
                find.read_dotenv(self.inputs, path, variables)
        for name in listed:
            if name != "/dev/null":
                path = posixpath.normpath(os.path.join(self.directory, str(name)))
                find.read_dotenv(self.inputs, path, variables)
        return variables

    def _import(self, tree: Map, imported: Map, kind: str, at: Position) -> None:
        source = imported.get(kind)
        if not isinstance(source, Map):
            return
        if not isinstance(tree.get(kind), Map):
            tree.put(kind, Map(at), (at, at))
        target = tree[kind]
        for name, value in source.items():
            if name in target and plain(target[name]) != plain(value):
                first = target.where(name)[0]
                raise error(
                    source.where(name)[0],
                    (kind, name),
                    f"is included, but {first} has one of the same name",
                    "rename one of them, or change the included one in an override file",
                )
            target.put(name, value, source.where(name))


def _stands_alone(document: Any) -> bool:
    """Whether nothing else goes into this document, so that validating it once is enough."""
    if not isinstance(document, Map) or "include" in document:
        return False
    services = document.get("services")
    return isinstance(services, Map) and not any(
        isinstance(one, Map) and "extends" in one for one in services.values()
    )


def _nobody(tree: Map, path: Path) -> None:
    """Watches nothing."""


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _apply_marks(base: Any, over: Any) -> None:
    """Carry out the ``!reset`` and ``!override`` marks of a later file on what the earlier ones say."""
    if not (isinstance(base, Map) and isinstance(over, Map)):
        return
    for key, value in over.items():
        if key not in base:
            continue
        if value is RESET or key in over.overrides:
            del base[key]
            base.at.pop(key, None)
        else:
            _apply_marks(base[key], value)


class Extends:
    """`extends` of the services of one file: each one is laid over the service that it names."""

    def __init__(self, group: Group, file: str) -> None:
        self.group = group
        self.file = file
        self._loaded: dict[str, Map] = {}

    def apply(self, tree: Map) -> None:
        """Replace every service of the tree that extends another one by the whole."""
        services = tree.get("services")
        if isinstance(services, Map) and any(
            isinstance(one, Map) and "extends" in one for one in services.values()
        ):
            for name in list(services):
                services[name] = self._whole(name, services, self.file, ())

    def _whole(self, name: str, services: Map, file: str, chain: tuple[tuple[str, str], ...]) -> Any:
        service = services[name]
        if not isinstance(service, Map) or not isinstance(service.get("extends"), Map):
            return service
        extends, at = service["extends"], service.where("extends")[1]
        path = ("services", name, "extends")
        if (file, name) in chain:
            shown = [f"{one} in {self.group.inputs.shown(where)}" for where, one in (*chain, (file, name))]
            raise error(
                at, path, f"the services extend each other: {' -> '.join(shown)}", "remove one `extends`"
            )
        wanted = extends.get("service")
        if not isinstance(wanted, str):
            raise error(at, path, "lacks the key `service`", "add `service: NAME`")
        base_file, base_services = file, services
        if extends.get("file"):
            base_file, base_services = self._file(str(extends["file"]), file, at, path)
        if wanted not in base_services:
            where = "this file" if base_file == file else self.group.inputs.shown(base_file)
            raise error(
                at,
                path,
                f"there is no service `{wanted}` in {where}",
                similar(wanted, base_services)
                or "write the name of a service that is there, or remove the key",
            )
        base = self._whole(wanted, base_services, base_file, (*chain, (file, name)))
        if not isinstance(base, Map):
            return service
        self.group.inputs.budget.take(base, at, path)
        merged = clone(base)
        strip_resets(merged)
        self.group.check_base(merged, service, at, path)
        self.group.watch(merged, ("services", name))
        _apply_marks(merged, service)
        over = service.copy()
        over.pop("extends", None)
        marks = {key: value for key, value in over.items() if value is RESET}
        merge(merged, over, ("services", name))
        merged.overrides |= over.overrides
        for key, value in marks.items():
            merged.put(key, value, over.where(key))
        merged.pop("extends", None)
        merged.start = service.start
        services[name] = merged
        return merged

    def _file(self, name: str, file: str, at: Position, path: tuple[str, ...]) -> tuple[str, Map]:
        base = self.group.directory
        if file != self.file and self.group.root is None:  # else `_read` has made it a path seen from there
            base = os.path.dirname(file)
        found = Places(self.group.inputs, base).absolute(name)
        if found not in self._loaded:
            if self.group.inputs.kind(found) != "file":
                raise error(at, path, f"there is no file {self.group.inputs.shown(found)}", _NO_FILE)
            self._loaded[found] = self._read(found)
        services = self._loaded[found].get("services")
        if not isinstance(services, Map):
            problem = f"{self.group.inputs.shown(found)} has no services"
            raise error(at, path, problem, "add `services:` to it, or name another file")
        return found, services

    def _read(self, file: str) -> Map:
        """Another file's tree; its paths are seen from its own directory."""
        result: Map | None = None
        for document, at in self.group.documents(file):
            tree = self.group._prepared(document, at)
            result = tree if result is None else merge(result, tree)
            UNIQUE.apply(strip_resets(result))
        if result is None:
            return Map(Position(self.group.inputs.shown(file), 0, 0))
        directory = os.path.dirname(file)
        if (
            self.group.root is not None
        ):  # the group's own paths are still to be seen from the root, and so these
            directory = os.path.relpath(directory, self.group.directory)
        return Places(self.group.inputs, directory).resolve(result)


def similar(name: str, known: Any) -> str | None:
    """A hint with the known name that looks most like `name`."""
    import difflib

    close = difflib.get_close_matches(name, list(known)[:_ASKED], 1, 0.6)
    return f"did you mean `{close[0]}`?" if close else None
