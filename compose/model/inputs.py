"""Everything that a load reads, and a record of it.

The model never touches the disk or the environment but through `Inputs`, so that the cache knows what its
entry depends on: the bytes of each file, the absence of others, and the variables that were looked up.
"""

from __future__ import annotations

import os
import stat

from compose.errors import ModelError
from compose.model.budget import Budget

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from compose.model.tree import Position

MAX_FILE_SIZE = 2 << 20
"""Bytes. The largest file of four thousand of other projects has 100 kB; a config of Docker may have 1 MB."""


class Inputs:
    """Files and variables as seen from one directory; `files` and `variables` record what was asked for."""

    __slots__ = (
        *("assignments", "budget", "contents", "cwd", "environment", "files", "included", "unset"),
        "variables",
    )

    def __init__(self, environment: Mapping[str, str], cwd: str) -> None:
        self.environment = environment
        self.cwd = cwd
        self.contents: dict[str, bytes] = {}
        self.files: dict[str, str] = {}
        self.variables: set[str] = set()
        self.budget = Budget()
        self.included = 0
        """How many times a file was included."""
        self.unset: dict[str, Position] = {}
        """What there is to say of variables that are not set and files of variables use, with the place."""
        self.assignments: list[tuple[str, Position, str]] = []
        """What the .env files set, for interpolation: name, place, value; later ones win."""

    def variable(self, name: str) -> str | None:
        """The value of a variable of the process's environment; PWD is known without a shell too."""
        self.variables.add(name)
        found = self.environment.get(name)
        return self.cwd if found is None and name == "PWD" else found

    def note_unset(self, at: Position, text: str) -> None:
        """Keep a warning for the end of the load; the first place of a variable is enough."""
        self.unset.setdefault(text, at)

    def kind(self, path: str) -> str:
        """``file``, ``dir`` or ``none``; what is there now is part of the record."""
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            found = "none"
        else:
            found = "dir" if stat.S_ISDIR(mode) else "file"
        self.files.setdefault(path, found)
        return found

    def read(self, path: str) -> bytes:
        """The bytes of a file, read once a load; ModelError where that fails."""
        if path not in self.contents:
            try:
                if path == "-":
                    import sys

                    data = sys.stdin.buffer.read(MAX_FILE_SIZE + 1)
                else:
                    with open(path, "rb") as file:
                        data = file.read(MAX_FILE_SIZE + 1)
            except (OSError, ValueError) as problem:
                reason = getattr(problem, "strerror", None) or str(problem)
                raise ModelError(f"{self.shown(path)}: cannot be read: {reason}") from None
            if len(data) > MAX_FILE_SIZE:
                raise ModelError(
                    f"{self.shown(path)}: is larger than {MAX_FILE_SIZE >> 20} MiB",
                    hint="a compose file describes services; keep data in files beside it",
                )
            self.contents[path] = data
        self.files[path] = digest(self.contents[path])
        return self.contents[path]

    def shown(self, path: str) -> str:
        """A path as messages show it: relative where it lies below the working directory."""
        prefix = self.cwd.rstrip("/") + "/"
        return path[len(prefix) :] if path.startswith(prefix) else path

    def absolute(self, path: str) -> str:
        """A path seen from the working directory, made absolute."""
        return os.path.normpath(os.path.join(self.cwd, path))


def digest(data: bytes) -> str:
    """The SHA-256 of some bytes in hexadecimal."""
    text: str = _sha256()(data).hexdigest()
    return text


def _sha256() -> Callable[[bytes], Any]:
    """The interpreter's own SHA-256, taken as `random` takes its own: hashlib would load OpenSSL, 4 ms."""
    try:
        from _sha2 import sha256  # type: ignore[import-not-found]
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found]
        except ImportError:
            from hashlib import sha256
    return sha256  # type: ignore[no-any-return]
