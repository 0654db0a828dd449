"""Which seccomp program a service's containers get."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from compose.runtime import capabilities, seccomp

from .spec.build import security_options

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from compose.state.paths import Paths


def program(paths: Paths, service: Mapping[str, Any]) -> str:
    """The path of the compiled program; "" for a container that is privileged or unconfined.

    ``security_opt: seccomp=FILE`` names a profile in Docker's format, ``builtin`` ours.
    """
    wanted = security_options(service).get("seccomp", "")
    if service.get("privileged") or wanted == "unconfined":
        return ""
    names = capabilities.select(service.get("cap_add") or (), service.get("cap_drop") or ())
    os.makedirs(paths.cache, mode=0o700, exist_ok=True)
    return seccomp.program(names, paths.cache, "" if wanted == "builtin" else wanted)
