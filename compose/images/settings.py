"""Whether an image's config document is what it says that it is: whoever made the image is not trusted.

Types are those of the OCI image specification (config.md), as Docker's own decoder enforces them. What a
value means (a user, a signal, a path) is for those who act on it.
"""

from __future__ import annotations

from typing import Any

from compose.errors import ImageError

_TEXTS = ("User", "WorkingDir", "StopSignal")
_LISTS = ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild")
_SETS = ("Volumes", "ExposedPorts")
_NUMBERS = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")


def check(document: Any, image: str) -> None:
    """Raise `ImageError` for a config document with a value of a wrong type."""
    try:
        _check(document)
    except ValueError as error:
        raise ImageError(f"the image {image} is damaged: {error}") from None


def _check(document: Any) -> None:
    settings = _mapping(_mapping(document, "its config").get("config"), "config")
    for key in _TEXTS:
        if settings.get(key) is not None:
            _text(settings[key], key)
    for key in _LISTS:
        for word in _list(settings.get(key), key):
            _text(word, key)
    for key in _SETS:
        for word in _mapping(settings.get(key), key):
            _text(word, key)
    for name, value in _mapping(settings.get("Labels"), "Labels").items():
        _text(name, "Labels")
        _text(value, "Labels")
    check = _mapping(settings.get("Healthcheck"), "Healthcheck")
    for word in _list(check.get("Test"), "Healthcheck.Test"):
        _text(word, "Healthcheck.Test")
    for key in _NUMBERS:
        value = check.get(key) or 0
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise ValueError(f"Healthcheck.{key} is no number")


def _text(value: Any, what: str) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{what} is no text")
    if "\0" in value:
        raise ValueError(f"{what} contains a NUL character")


def _list(value: Any, what: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise ValueError(f"{what} is no list")
    return value or []


def _mapping(value: Any, what: str) -> dict[Any, Any]:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{what} is no object")
    return value or {}
