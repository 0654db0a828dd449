"""Programs that provide something: plug-ins of Docker's command line, and whatever is on PATH."""

from __future__ import annotations

import os
import shutil

from compose.errors import ComposeError

_PLUGINS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)


def plugin(name: str) -> str | None:
    """The plug-in ``docker-NAME``, where Docker looks for it or on PATH."""
    own = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    places = [f"{directory}/docker-{name}" for directory in (f"{own}/cli-plugins", *_PLUGINS)]
    found = next((path for path in places if os.path.isfile(path) and os.access(path, os.X_OK)), None)
    return found or shutil.which(f"docker-{name}")


def runner(model: str) -> str:
    """The program that serves models; raises `ComposeError`, in which `model` is the one that is wanted."""
    program = plugin("model")
    if program is None:
        raise ComposeError(
            f"models.{model}: there is no model runner here",
            hint="install the docker-model plug-in, or remove 'models' from the services",
        )
    return program


def find(name: str) -> str | None:
    """The plug-in of that name, else the program of that name on PATH."""
    return (plugin(name) if "/" not in name else None) or shutil.which(name)
