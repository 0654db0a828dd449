"""A container's seccomp program: compiled once for a profile and a set of capabilities, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from compose import __version__
from compose.errors import ContainerError
from compose.runtime import capabilities
from compose.state.files import replace
from compose.state.paths import schema_file

from .spec.build import security_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.state.paths import Paths


def program(paths: Paths, service: Mapping[str, Any]) -> str:
    """The path of the compiled program; "" for a container that is privileged or unconfined."""
    wanted = security_options(service).get("seccomp", "")
    if service.get("privileged") or wanted == "unconfined":
        return ""
    text = _profile(wanted)
    names = capabilities.select(service.get("cap_add") or (), service.get("cap_drop") or ())
    key = hashlib.sha256(
        "\0".join([__version__, os.uname().machine, *sorted(names), text]).encode()
    ).hexdigest()
    path = f"{paths.cache}/seccomp-{key[:32]}.bpf"
    if not os.path.exists(path):
        from compose.runtime import seccomp

        try:
            compiled = seccomp.compile(
                json.loads(text), names, machine=os.uname().machine, numbers=_numbers(), kernel=_kernel()
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ContainerError(f"seccomp profile {wanted or 'default'}: {error}") from None
        os.makedirs(paths.cache, mode=0o700, exist_ok=True)
        replace(path, compiled, durable=True)
    return path


def _profile(path: str) -> str:
    if not path or path == "builtin":
        path = schema_file("seccomp-default.json")
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ContainerError(f"security_opt: seccomp profile {path}: {reason}") from None


def _numbers() -> dict[str, dict[str, int]]:
    with open(schema_file("syscalls.json"), encoding="utf-8") as file:
        found: dict[str, dict[str, int]] = json.load(file)
    return found


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(character for character in minor if character.isdigit()))
