"""Which seccomp program a service's containers get."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.runtime.container import capabilities, seccomp

from .spec.security import security

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.state.paths import Paths


def program(paths: Paths, service: Mapping[str, Any], directory: str) -> str:
    """The path of the compiled program; "" for a container that is privileged or unconfined.

    ``security_opt: seccomp=FILE`` names a profile in Docker's format, relative to the project's `directory`,
    ``builtin`` ours. Raises `ContainerError` for one that cannot be read.
    """
    wanted = security(service).seccomp
    if service.get("privileged") or wanted == "unconfined":
        return ""
    names = capabilities.select(service.get("cap_add") or (), service.get("cap_drop") or ())
    os.makedirs(paths.cache, mode=0o700, exist_ok=True)
    return seccomp.program(names, paths.cache, os.path.join(directory, wanted) if wanted else "")
