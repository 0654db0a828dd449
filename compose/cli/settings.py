"""How commands speak and how much they do at once: from options, the environment, or the project's .env."""

from __future__ import annotations

import os

from compose.errors import ComposeError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_PROGRESS = ("auto", "tty", "plain", "json", "quiet")
_ANSI = ("never", "always", "auto")
_TRUE = ("1", "t", "T", "true", "True", "TRUE")
_IN_ENV_FILES = (
    "COMPOSE_ANSI",
    "COMPOSE_COMPATIBILITY",
    "COMPOSE_IGNORE_ORPHANS",
    "COMPOSE_PARALLEL_LIMIT",
    "COMPOSE_PROGRESS",
    "COMPOSE_REMOVE_ORPHANS",
    "COMPOSE_STATUS_STDOUT",
)


def settle(options: argparse.Namespace) -> None:
    """Fill in what the options leave to the environment, check it, and tell those who print of it."""
    from compose.ui import errors, terminal

    _drop_coerced_locale()
    _read_env_files(options)
    options.progress = _one_of("progress", options.progress, _PROGRESS)
    if options.progress == "json":
        errors.speak_json()
    options.ansi = _ansi(options.ansi)
    if options.ansi == "never" and options.progress == "tty":
        raise UsageError("--progress tty needs what --ansi never forbids")
    if options.ansi == "always" and options.progress == "plain":
        raise UsageError("--progress plain has nothing of what --ansi always wants")
    if options.ansi == "never" and options.progress == "auto":
        options.progress = "plain"
    terminal.set_colours(options.ansi)
    limit = os.environ.get("COMPOSE_PARALLEL_LIMIT")
    if options.parallel is None and limit:
        if not limit.removeprefix("-").isdecimal():
            raise UsageError(f"COMPOSE_PARALLEL_LIMIT={limit}: not a number")
        options.parallel = int(limit)


def is_compatible(options: argparse.Namespace) -> bool:
    """Whether containers are named as docker-compose 1 did: ``--compatibility``, or the variable of the name.

    What is no boolean of Go's counts as false, as docker compose has it.
    """
    return bool(options.compatibility) or os.environ.get("COMPOSE_COMPATIBILITY") in _TRUE


def _drop_coerced_locale() -> None:
    """Where the user has set no locale, Python sets ``LC_CTYPE`` for itself and its children (PEP 538)."""
    if "LC_CTYPE" in os.environ:
        with open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")
        if not any(one.startswith(b"LC_CTYPE=") for one in given):
            del os.environ["LC_CTYPE"]


def _one_of(option: str, given: str | None, known: tuple[str, ...]) -> str:
    value = given or os.environ.get(f"COMPOSE_{option.upper()}") or "auto"
    if value not in known:
        raise UsageError(f"--{option} {value}: unknown", hint=f"write one of {', '.join(known)}")
    return value


def _ansi(given: str | None) -> str:
    """An unknown word counts as ``auto``, as in docker compose."""
    try:
        return _one_of("ansi", given, _ANSI)
    except UsageError as error:
        from compose.ui import errors

        errors.warn(f"{error}, taken as auto; {error.hint}")
        return "auto"


def _read_env_files(options: argparse.Namespace) -> None:
    """Take our own settings from the .env file, below the environment; the model reads the rest, and
    complains."""
    for path in options.env_file or [os.path.join(_directory(options), ".env")]:
        try:
            with open(path, "rb") as file:
                data = file.read(1 << 20)
            if b"COMPOSE_" not in data:
                continue
            from compose.model.dotenv import parse

            found = parse(data, path, os.environ.get)
        except (OSError, ComposeError):
            continue
        for name in _IN_ENV_FILES:
            if name in found:
                os.environ.setdefault(name, found[name])


def _directory(options: argparse.Namespace) -> str:
    first = options.file[0] if options.file and options.file[0] != "-" else ""
    return str(options.project_directory or os.path.dirname(first))
