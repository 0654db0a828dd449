"""Which files a project is made of, its directory, its name, and the variables that interpolation sees.

Docker's rules: -f, else COMPOSE_FILE, else compose.yaml and its relatives in the working directory or above
it, with the override file beside it. The directory is --project-directory, else that of the first file. Its
.env (or the --env-file files) lies below the process's environment. The name is -p, COMPOSE_PROJECT_NAME,
`name:`, or the directory's.

Fig's rules for its own format: a file named fig.yml, given or in the working directory, or the one that
FIG_FILE names. It stands alone, its paths start from the working directory, and there is no .env.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from compose.errors import ModelError, UsageError
from compose.model import dotenv
from compose.model.interpolate import lookup_in
from compose.model.names import DEFAULT_NAMES, FIG_NAMES, OVERRIDE_NAMES
from compose.model.tree import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.model.inputs import Inputs


_TRUE = ("1", "t", "T", "true", "True", "TRUE")
_FALSE = ("0", "f", "F", "false", "False", "FALSE")


class Found(NamedTuple):
    """Where a load begins: absolute paths (or ``-``), the project's directory, the variables of its .env."""

    files: list[str]
    directory: str
    dotenv: dict[str, str]
    warnings: list[str]
    fig: bool = False


def find(
    inputs: Inputs, files: Sequence[str] | None, project_directory: str | None, env_files: Sequence[str]
) -> Found:
    """Locate everything; ModelError where a named file is missing or there is none at all."""
    warnings: list[str] = []
    variables: dict[str, str] = {}
    chosen = [_absolute(inputs, name) for name in files or ()]
    directory = inputs.absolute(project_directory) if project_directory else None
    fig = _fig_file(inputs, chosen, directory or inputs.cwd, warnings)
    if fig is not None:
        return Found([fig], directory or inputs.cwd, {}, warnings, fig=True)
    # the .env file may itself say COMPOSE_FILE, so it is read first, from where the files would be
    base = directory or (_directory_of(chosen) if chosen else None) or inputs.cwd
    variables = _dotenv(inputs, base, env_files)
    if not chosen:
        chosen = _from_environment(inputs, variables)
    if not chosen:
        chosen = _by_default(inputs, directory or inputs.cwd, warnings)
    found_in = _directory_of(chosen) or inputs.cwd
    if directory is None and found_in != base:
        variables = _also(inputs, found_in, env_files, variables)
    if not chosen:
        raise UsageError(
            "there is no compose.yaml in this directory or above it",
            hint="change to the project's directory, or name the file with -f FILE",
        )
    return Found(chosen, directory or _directory_of(chosen) or inputs.cwd, variables, warnings)


def _fig_file(inputs: Inputs, chosen: Sequence[str], directory: str, warnings: list[str]) -> str | None:
    """The one fig.yml, if that is what the project is made of."""
    for file in chosen:
        if os.path.basename(file) in FIG_NAMES:
            if len(chosen) > 1:
                raise UsageError(
                    f"{inputs.shown(file)} cannot be merged with other files",
                    hint="turn it into a compose file first: pycompose -f fig.yml config -o compose.yaml",
                )
            return file
    if chosen or inputs.variable("COMPOSE_FILE"):
        return None
    named = inputs.variable("FIG_FILE")
    if named:
        return inputs.absolute(named)
    if any(inputs.kind(os.path.join(directory, name)) == "file" for name in DEFAULT_NAMES):
        return None
    for name in FIG_NAMES:
        file = os.path.join(directory, name)
        if inputs.kind(file) == "file":
            if name != FIG_NAMES[0]:
                warnings.append(f"{Position(inputs.shown(file), 1, 1)}: should be named {FIG_NAMES[0]}")
            return file
    return None


def _absolute(inputs: Inputs, name: str) -> str:
    return name if name == "-" else inputs.absolute(name)


def _directory_of(files: Sequence[str]) -> str | None:
    for file in files:
        if file != "-":
            return os.path.dirname(file)
    return None


def _from_environment(inputs: Inputs, variables: dict[str, str]) -> list[str]:
    value = inputs.variable("COMPOSE_FILE") or variables.get("COMPOSE_FILE")
    if not value:
        return []
    separator = inputs.variable("COMPOSE_PATH_SEPARATOR") or variables.get("COMPOSE_PATH_SEPARATOR") or ":"
    return [_absolute(inputs, name) for name in value.split(separator)]


def _by_default(inputs: Inputs, directory: str, warnings: list[str]) -> list[str]:
    while True:
        names = [name for name in DEFAULT_NAMES if inputs.kind(os.path.join(directory, name)) == "file"]
        if names:
            overrides = [
                name for name in OVERRIDE_NAMES if inputs.kind(os.path.join(directory, name)) == "file"
            ]
            for several in (names, overrides):
                if len(several) > 1:
                    warnings.append(f"{directory}: has {', '.join(several)}; {several[0]} is used")
            return [os.path.join(directory, name) for name in (*names[:1], *overrides[:1])]
        parent = os.path.dirname(directory)
        if parent == directory:
            return []
        directory = parent


def _also(
    inputs: Inputs, directory: str, env_files: Sequence[str], variables: dict[str, str]
) -> dict[str, str]:
    """The .env beside files that were found elsewhere, below that of the working directory."""
    before = inputs.assignments
    inputs.assignments = []
    others = _dotenv(inputs, directory, env_files, variables)
    inputs.assignments += before
    return {**others, **variables}


def _dotenv(
    inputs: Inputs, directory: str, env_files: Sequence[str], above: dict[str, str] | None = None
) -> dict[str, str]:
    files = named_env_files(inputs, env_files)
    if not files:
        disabled = inputs.variable("COMPOSE_DISABLE_ENV_FILE")
        if disabled and disabled not in _FALSE:
            if disabled not in _TRUE:
                raise UsageError(
                    f"COMPOSE_DISABLE_ENV_FILE is `{disabled}`, neither true nor false",
                    hint="set it to 1 or 0",
                )
            return {}
        path = os.path.join(directory, ".env")
        files = [path] if inputs.kind(path) == "file" else []
    variables: dict[str, str] = {}
    for name in files:
        read_dotenv(inputs, name, variables, above)
    return variables


def named_env_files(inputs: Inputs, env_files: Sequence[str]) -> list[str]:
    """The absolute paths of the .env files that ``--env-file`` or COMPOSE_ENV_FILES name."""
    names = list(env_files)
    if not names:
        listed = inputs.variable("COMPOSE_ENV_FILES")
        names = listed.split(",") if listed else []
    return [inputs.absolute(name) for name in names]


def read_dotenv(
    inputs: Inputs, path: str, variables: dict[str, str], above: dict[str, str] | None = None
) -> None:
    """Add the variables of one file to `variables`.

    The process's environment and the variables `above` win inside of it.
    """
    if inputs.kind(path) != "file":
        what = "is a directory" if inputs.kind(path) == "dir" else "does not exist"
        raise ModelError(f"{inputs.shown(path)}: {what}", hint="name a file of NAME=value lines")

    def note(name: str, at: Position, value: str) -> None:
        inputs.assignments.append((name, at, value))

    lookup = lookup_in(above, inputs.variable) if above else inputs.variable
    dotenv.parse(
        inputs.read(path), inputs.shown(path), lookup, variables, note, inputs.budget, inputs.note_unset
    )
