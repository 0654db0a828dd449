"""What runs in a container, as whom, with which environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compose.errors import ContainerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

DESCRIPTORS = 1024


def arguments(service: Mapping[str, Any], image: Mapping[str, Any], name: str) -> list[str]:
    """Entry point and command.

    A service's entry point drops the image's command; null keeps what the image has, an empty list clears it
    (Compose specification, 05-services, command and entrypoint).
    """
    entrypoint: Sequence[str] | None = service.get("entrypoint")
    command: Sequence[str] | None = service.get("command")
    if command is None:
        command = image.get("Cmd") if entrypoint is None else []
    if entrypoint is None:
        entrypoint = image.get("Entrypoint")
    found = [*(entrypoint or ()), *(command or ())]
    _without_nul(found, "command")
    if not found:
        raise ContainerError(
            f"container {name}: no command: neither the image nor the service has one",
            hint="add 'command:' to the service",
        )
    return found


def environment(service: Mapping[str, Any], image: Mapping[str, Any]) -> list[str]:
    """The image's variables, then the service's; one without a value takes the image's away."""
    own = service.get("environment") or {}
    found = [
        *(image.get("Env") or ()),
        *(str(key) if value is None else f"{key}={value}" for key, value in own.items()),
    ]
    _without_nul(found, "environment")
    return found


def _without_nul(words: Sequence[str], what: str) -> None:
    for word in words:
        if "\0" in word:
            raise ContainerError(f"{what}: {word!r} contains a NUL character, which no program can be given")


def rlimits(service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``ulimits`` as OCI ``process.rlimits``; one number is soft and hard limit, -1 is unlimited."""
    found = []
    for name, value in (service.get("ulimits") or {}).items():
        soft, hard = (value, value) if not isinstance(value, dict) else (value["soft"], value["hard"])
        found.append({"type": f"RLIMIT_{name.upper()}", "soft": _limit(soft), "hard": _limit(hard)})
    return found


def descriptors(service: Mapping[str, Any], hard: int) -> list[dict[str, Any]]:
    """The limit of open files of a service that sets none: what a login shell has, below `hard` of ours.

    A program that needs more raises it itself; one that closes all that it may have open is soon done.
    """
    if "nofile" in (service.get("ulimits") or {}):
        return []
    soft = DESCRIPTORS if hard < 0 else min(DESCRIPTORS, hard)
    return [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": _limit(hard)}]


def _limit(value: Any) -> int:
    number = int(value)
    return 2**64 - 1 if number < 0 else number
