"""``pycompose config``: what the files come to."""

from __future__ import annotations

import sys

from compose.errors import ComposeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from compose.model import Project
    from compose.model.variables import Variable


_SWITCHES = (
    ("no-interpolate", "do not replace variables"),
    ("no-normalize", "do not fill in what is implied"),
    ("no-path-resolution", "do not make paths absolute"),
    ("no-consistency", "do not check that everything fits together"),
    ("no-env-resolution", "do not read the files of env_file"),
)
_LISTS = (
    ("services", "the names of the services"),
    ("volumes", "the names of the volumes"),
    ("networks", "the names of the networks"),
    ("models", "the models"),
    ("images", "the images"),
    ("profiles", "the profiles"),
    ("variables", "the variables that the files ask for, with their defaults"),
    ("environment", "the variables that interpolation sees"),
    ("supported", "every key of the specification, whether it is acted on, and why not"),
)
_DIGESTS = (
    ("resolve-image-digests", "name images by their digests"),
    ("lock-image-digests", "print an override file that names images by their digests"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("services", nargs="*", metavar="SERVICE", help="only these services and what they depend on")
    add("--format", choices=("yaml", "json"), help="output format (default yaml)")
    add("-o", "--output", metavar="FILE", help="write to a file rather than to the terminal")
    add("-q", "--quiet", action="store_true", help="only check, print nothing")
    add("--strict", action="store_true", help="treat warnings as errors")
    add("--hash", metavar="SERVICE", help="print the hashes of services, '*' for all")
    lists = parser.add_mutually_exclusive_group()
    for name, text in _LISTS:
        lists.add_argument(
            f"--{name}", dest="list_of", action="store_const", const=name, help=f"print {text}"
        )
    lists.add_argument("--explain", metavar="VAR", help="print where a variable's value comes from")
    lists.add_argument("--origin", metavar="PATH", help="print where the value at a path comes from")
    for name, text in _DIGESTS:
        add(f"--{name}", action="store_true", help=text)
    for name, text in _SWITCHES:
        add(f"--{name}", dest="switches", action="append_const", const=name, help=text)


def run(arguments: argparse.Namespace) -> int:
    """Print the canonical form of the project, or one of the lists."""
    problem: ComposeError | None = None
    if arguments.list_of == "supported":
        from compose.cli.explained import supported

        text = supported(arguments.format)
    elif arguments.explain is not None or arguments.origin is not None:
        from compose.cli.explained import explained

        text, problem = explained(arguments, _options(arguments))
    elif arguments.list_of in ("variables", "environment"):
        text = _variables(arguments)
    elif "no-interpolate" in (arguments.switches or ()) and arguments.list_of is None and not arguments.hash:
        text = _uninterpolated(arguments)
    else:
        text = _project(arguments)
    if arguments.quiet:
        return 0
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        sys.stdout.buffer.flush()
    if problem is not None:
        raise problem
    return 0


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    from compose.cli.project import switches

    implied = ("no-normalize",) if arguments.compatibility else ()  # the variable does not imply it
    return {
        "project_directory": arguments.project_directory,
        "project_name": arguments.project_name,
        "env_files": arguments.env_file,
        "profiles": arguments.profile,
        "switches": (*switches(arguments), *implied, *(arguments.switches or ())),
    }


def _project(arguments: argparse.Namespace) -> str:
    from compose import model
    from compose.cli.project import cache, warn

    options = _options(arguments)
    if arguments.list_of or arguments.hash:
        options["switches"] = (*options["switches"], "no-env-resolution")
    project = model.load(arguments.file or None, services=arguments.services, cache=cache(), **options)
    for warning in project.warnings:
        warn(warning)
    if arguments.strict and project.warnings:
        count = len(project.warnings)
        raise ComposeError(f"{count} {'warning' if count == 1 else 'warnings'}, and --strict was given")
    if arguments.hash:
        return _hashes(project, arguments.hash)
    if arguments.list_of in ("images", "profiles") and arguments.services:
        project.keep(_known(project, arguments.services))
    if arguments.list_of:
        return "".join(f"{line}\n" for line in _list(project, arguments.list_of))
    if arguments.services:
        project.keep(_known(project, arguments.services))
    if arguments.resolve_image_digests or arguments.lock_image_digests:
        from compose.cli.digests import pin
        from compose.state.paths import Paths

        def where(name: str) -> str:
            return f"{project.where(('services', name, 'image'))}: "

        pin(project.services, where, Paths.from_environment())
    if arguments.quiet:
        return ""
    from compose.model.key_order import by_name
    from compose.model.present import presented, text

    if arguments.lock_image_digests:
        from compose.cli.digests import only_images

        kind = arguments.format or "yaml"
        return text(by_name(only_images(project.services), kind), kind)
    return presented(project, arguments.format or "yaml")


def _known(project: Project, names: list[str]) -> list[str]:
    for name in names:
        if name not in project.services:
            raise UsageError(f"no such service: {name}", hint="see 'pycompose config --services'")
    return names


def _list(project: Project, kind: str) -> list[str]:
    if kind == "services":
        return project.order
    if kind == "images":
        return sorted(project.image(name) for name in project.services)
    if kind == "profiles":
        everything = (*project.services.values(), *project.disabled.values())
        return sorted({profile for service in everything for profile in service.get("profiles", ())})
    if kind == "models":
        return sorted(one["model"] for one in project.models.values() if "model" in one)
    return sorted(getattr(project, kind))


def _hashes(project: Project, wanted: str) -> str:
    from compose.model import hash_of

    names = sorted(project.services) if wanted == "*" else _known(project, wanted.split(","))
    return "".join(f"{name} {hash_of(project.services[name])}\n" for name in names)


def _uninterpolated(arguments: argparse.Namespace) -> str:
    from compose import model
    from compose.model.key_order import by_name
    from compose.model.merge import UNIQUE_KEYS
    from compose.model.present import empty_lists_as_null, text

    tree = model.load_tree(arguments.file or None, **_options(arguments))
    if arguments.services:
        services = tree.get("services", {})
        for name in arguments.services:
            if name not in services:
                raise UsageError(f"no such service: {name}", hint="see 'pycompose config --services'")
        tree["services"] = {name: services[name] for name in arguments.services}
    if arguments.resolve_image_digests or arguments.lock_image_digests:
        from compose.cli.digests import only_images, pin
        from compose.state.paths import Paths

        pin(tree.get("services", {}), lambda name: "", Paths.from_environment())
        if arguments.lock_image_digests:
            tree = only_images(tree.get("services", {}))
    if arguments.format == "json":
        tree = empty_lists_as_null(tree, UNIQUE_KEYS - {"args"} | {"environment"})
    kind = arguments.format or "yaml"
    return text(by_name(tree, kind), kind)


def _variables(arguments: argparse.Namespace) -> str:
    from compose import model
    from compose.model.present import text

    if arguments.list_of == "environment":
        values = model.load_environment(arguments.file or None, **_options(arguments))
        return "".join(f"{name}={values[name]}\n" for name in sorted(values))
    wanted = sorted(model.load_variables(arguments.file or None, **_options(arguments)).values())
    if arguments.format == "json":
        import json

        shown = {one.name: _fields(one) for one in wanted}
        return json.dumps(shown, indent=4, ensure_ascii=False) + "\n\n"
    if arguments.format == "yaml":
        rows = {one.name: {key.lower(): value for key, value in _fields(one).items()} for one in wanted}
        return text(rows, "yaml", step=4)
    return _table(wanted)


def _fields(variable: Variable) -> dict[str, object]:
    """A variable under the names that docker compose has for what it is."""
    return {
        "Name": variable.name,
        "DefaultValue": variable.default,
        "PresenceValue": variable.alternate,
        "Required": variable.required,
    }


def _table(wanted: list[Variable]) -> str:
    rows = [("NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE")]
    rows += [(one.name, str(one.required).lower(), one.default, one.alternate) for one in wanted]
    widths = [max(20, 3 + max(len(row[column]) for row in rows)) for column in range(3)]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows]
    return "".join(f"{line}{row[3]}\n" for line, row in zip(lines, rows, strict=True))
