"""Names of projects, and the files that make a directory one; light, for commands that need no more."""

from __future__ import annotations

import os

from compose.errors import UsageError

DEFAULT_NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDE_NAMES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)

FIG_NAMES = ("fig.yml", "fig.yaml")

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


def normalised_name(text: str) -> str:
    """A project's name made of any text, as docker compose makes it of a directory's name."""
    return "".join(letter for letter in text.lower() if letter in _LETTERS).lstrip("_-")


def check_name(name: str) -> str:
    """A project's name that somebody chose; UsageError where it cannot be one."""
    better = normalised_name(name)
    if not name or name != better:
        raise UsageError(
            f"`{name}` cannot be the name of a project: it is made of lower-case letters, digits, - and _, "
            "and begins with a letter or digit",
            hint=f"write `{better}`" if better else None,
        )
    return name


def default_file(directory: str | None = None) -> str | None:
    """The compose file that would be found in a directory (the working directory) or above it.

    A fig.yml counts in the directory itself only.
    """
    here = os.path.abspath(directory or os.getcwd())
    names: tuple[str, ...] = (*DEFAULT_NAMES, *FIG_NAMES)
    while True:
        for name in names:
            if os.path.isfile(os.path.join(here, name)):
                return os.path.join(here, name)
        parent = os.path.dirname(here)
        if parent == here:
            return None
        here, names = parent, DEFAULT_NAMES
