"""Names of images, as the distribution project's grammar has them and as Docker shortens them.

``debian``, ``library/debian:latest`` and ``docker.io/library/debian:latest`` are one image. The full form is
what the store keeps, the familiar one is what people are shown.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from compose.errors import ImageError

_DEFAULT_REGISTRY = "docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Reference(NamedTuple):
    """A name taken apart; `digest` is empty or ``sha256:`` and 64 hexadecimal digits."""

    registry: str
    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        """The full form: registry, repository, tag, digest."""
        return f"{self.registry}/{self._rest(self.repository)}"

    @property
    def familiar(self) -> str:
        """The form that people type: without what goes without saying."""
        if self.registry != _DEFAULT_REGISTRY:
            return str(self)
        return self._rest(self.repository.removeprefix("library/"))

    def _rest(self, repository: str) -> str:
        return repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


def parse(text: str) -> Reference:
    """Take a name apart and fill in what it leaves out; raises `ImageError`."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise ImageError(f"image name {text!r}: the part after @ is not sha256: and 64 hexadecimal digits")
    first, slash, remainder = rest.partition("/")
    if slash and (set(first) & set(".:[") or first == "localhost" or first != first.lower()):
        registry = first
    else:
        registry, remainder = _DEFAULT_REGISTRY, rest
    repository, colon, tag = remainder.partition(":")
    if registry == _DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    if not _REPOSITORY.fullmatch(repository) or not _REGISTRY.fullmatch(registry):
        hint = "names are in lower case" if repository != repository.lower() else None
        raise ImageError(f"image name {text!r} is not valid", hint=hint)
    if colon and not _TAG.fullmatch(tag):
        raise ImageError(f"image name {text!r}: {tag!r} is not a tag")
    if len(registry) + len(repository) > 254 or re.fullmatch(r"library/[0-9a-f]{64}", repository):
        raise ImageError(f"image name {text!r} is too long")
    return Reference(registry, repository, tag if colon else "" if digest else "latest", digest)
