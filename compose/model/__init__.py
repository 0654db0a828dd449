"""YAML text -> Project: what the files say, in the canonical form of `docker compose config`.

Pure: it reads files and variables (all through `inputs.Inputs`), writes nothing but its cache, and touches
nothing else. The heavy parts (yaml, jsonschema, networkx) are imported when the cache has no answer.
"""

from __future__ import annotations

import os

from compose.model.names import check_name, default_file
from compose.model.project import Project

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, TypedDict, Unpack

    from compose.model.explain import Explanation
    from compose.model.request import Request
    from compose.model.variables import Variable

    class Choices(TypedDict, total=False):
        """What the options of a command say, under their names."""

        project_directory: str | None
        project_name: str | None
        env_files: Sequence[str]
        profiles: Sequence[str]
        services: Sequence[str]
        """Names given on the command line: their profiles are active too."""
        environment: Mapping[str, str] | None
        """What stands for the environment of this process."""
        cwd: str | None
        """Where to look for files; None: the working directory."""
        switches: Iterable[str]
        """What leaves a pass out, as the options of the same names do."""


__all__ = [
    "Project",
    "check_name",
    "default_file",
    "hash_of",
    "load",
    "load_environment",
    "load_explanation",
    "load_tree",
    "load_variables",
]

# What a change of does not recreate a container: how many there are, what is built, what comes before.
_NOT_HASHED = frozenset({"build", "depends_on", "develop", "profiles", "pull_policy", "scale", "attach"})


def load(
    files: Sequence[str] | None = None, *, cache: str | None = None, **choices: Unpack[Choices]
) -> Project:
    """The project of some files, or of those that docker compose would find from `cwd`.

    `cache` is the directory that keeps finished projects (Paths.cache); None keeps nothing. Raises ModelError
    with file:line:column for what is wrong in a file, UsageError for what is wrong in the call.
    """
    request = _request(files, **choices)
    if cache is not None and "-" not in request.files:
        from compose.model import cache as stored

        return stored.load(request, cache)
    from compose.model.assemble import assemble

    return assemble(request)[0]


def load_tree(files: Sequence[str] | None = None, **choices: Unpack[Choices]) -> dict[str, Any]:
    """The merged files without canonical form and checks of the whole: what `--no-interpolate` shows."""
    from compose.model.assemble import assemble_tree

    choices["switches"] = {*choices.get("switches", ()), "no-interpolate"}
    return assemble_tree(_request(files, **choices))


def load_variables(files: Sequence[str] | None = None, **choices: Unpack[Choices]) -> dict[str, Variable]:
    """The variables that the files ask for, by name."""
    from compose.model.variables import collect

    found: dict[str, Variable] = {}
    collect(load_tree(files, **choices), found)
    return found


def load_environment(files: Sequence[str] | None = None, **choices: Unpack[Choices]) -> dict[str, str]:
    """The values that interpolation sees; errors are those of `load`."""
    from compose.model.assemble import assemble_environment

    return assemble_environment(_request(files, **choices))


def load_explanation(
    wanted: str, files: Sequence[str] | None = None, *, variable: bool, **choices: Unpack[Choices]
) -> list[Explanation]:
    """Where the value of a variable, or that at a path, comes from."""
    from compose.model.explain import explain_value, explain_variable

    request = _request(files, **choices)
    return explain_variable(request, wanted) if variable else [explain_value(request, wanted)]


def _request(
    files: Sequence[str] | None,
    *,
    project_directory: str | None = None,
    project_name: str | None = None,
    env_files: Sequence[str] = (),
    profiles: Sequence[str] = (),
    services: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    cwd: str | None = None,
    switches: Iterable[str] = (),
) -> Request:
    from compose.model.request import Request

    given = os.environ if environment is None else environment
    if "" in given:  # what has no name is no variable
        given = {name: value for name, value in given.items() if name}
    return Request(
        files=tuple(files or ()),
        project_directory=project_directory,
        project_name=project_name,
        env_files=tuple(env_files),
        profiles=tuple(profiles),
        services=tuple(services),
        environment=given,
        cwd=cwd or os.getcwd(),
        switches=frozenset(switches),
    )


def hash_of(service: Mapping[str, Any]) -> str:
    """A digest of what makes a container what it is: another one means that it must be recreated.

    The SHA-256 of the canonical JSON without the keys that say how many containers there are, how the image
    is built, or in which order things happen.
    """
    import hashlib
    import json

    relevant = {key: value for key, value in service.items() if key not in _NOT_HASHED}
    deploy = relevant.get("deploy")
    if isinstance(deploy, dict):
        relevant["deploy"] = {key: value for key, value in deploy.items() if key != "replicas"}
    text = json.dumps(relevant, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
