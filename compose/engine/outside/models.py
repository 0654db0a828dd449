"""Models: the model runner of Docker gets them, and tells where it serves them.

A service that names a model ``some-model`` gets SOME_MODEL_URL and SOME_MODEL_MODEL, or the variables that
its ``endpoint_var`` and ``model_var`` say (Compose specification, models).
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

from compose.errors import ComposeError

from .programs import runner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def prepare(
    definitions: Mapping[str, Mapping[str, Any]],
    services: Mapping[str, Mapping[str, Any]],
    tell: Callable[[str, str], None],
) -> dict[str, dict[str, str]]:
    """Have the models served that `services` use; the variables of each service. Raises `ComposeError`."""
    used = list(dict.fromkeys(key for service in services.values() for key in service["models"]))
    program = runner(used[0])
    there = _tags(_call(program, "ls", "--json"))
    for key in used:
        _get(program, key, definitions[key], there, tell)
    endpoint = _endpoint(_call(program, "status", "--json"))
    return {name: _variables(service["models"], definitions, endpoint) for name, service in services.items()}


def _get(
    program: str,
    key: str,
    definition: Mapping[str, Any],
    there: set[str],
    tell: Callable[[str, str], None],
) -> None:
    model = str(definition["model"])
    if model not in there:
        tell(key, f"getting {model}")
        _call(program, "pull", model)
    size = definition.get("context_size")
    flags = [str(flag) for flag in definition.get("runtime_flags") or ()]
    if size or flags:
        context = ["--context-size", str(size)] if size else []
        _call(program, "configure", *context, model, *(["--", *flags] if flags else []))


def _variables(
    models: Mapping[str, Mapping[str, Any] | None],
    definitions: Mapping[str, Mapping[str, Any]],
    endpoint: str,
) -> dict[str, str]:
    found = {}
    for key, options in models.items():
        prefix = key.upper().replace("-", "_")
        names = options or {}
        found[str(names.get("model_var") or f"{prefix}_MODEL")] = str(definitions[key]["model"])
        found[str(names.get("endpoint_var") or f"{prefix}_URL")] = endpoint
    return found


def _call(program: str, *arguments: str) -> bytes:
    try:
        done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True)
    except OSError as error:
        raise ComposeError(f"{program}: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr or done.stdout).decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ComposeError(f"{program} {' '.join(arguments)}: {last or f'exit code {done.returncode}'}")
    return done.stdout


def _tags(text: bytes) -> set[str]:
    """The names of the models that are there."""
    try:
        return {str(tag) for model in json.loads(text) for tag in model.get("tags") or ()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return set()


def _endpoint(text: bytes) -> str:
    try:
        return str(json.loads(text)["endpoint"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ComposeError("the model runner does not say where it is") from None
