"""Keys that detach a terminal from a container."""

from __future__ import annotations

from compose.errors import UsageError

DEFAULT = "ctrl-p,ctrl-q"
_SPECIAL = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def parse(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` as bytes: letters, or ctrl- and one of a-z @ [ \\ ] ^ _; raises `UsageError`."""
    found = bytearray()
    for key in text.split(","):
        control, _, letter = key.rpartition("-") if len(key) > 1 else ("", "", key)
        if not control and len(key) == 1 and key.isascii():
            found += key.encode()
        elif control == "ctrl" and len(letter) == 1 and letter in _SPECIAL:
            found.append(ord(letter.upper()) & 0x1F)
        else:
            raise UsageError(
                f"--detach-keys {text}: {key!r} is no key",
                hint="write letters or ctrl-p, with commas between",
            )
    return bytes(found)


class Detacher:
    """Looks for a sequence of keys in what is typed; what may be its beginning is held back."""

    __slots__ = ("_held", "_keys")

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = b""

    def look(self, data: bytes) -> tuple[bytes, bool]:
        """What is to be passed on, and whether the keys were typed."""
        data = self._held + data
        place = data.find(self._keys)
        if place >= 0:
            self._held = b""
            return data[:place], True
        length = next(
            (size for size in range(len(self._keys) - 1, 0, -1) if data.endswith(self._keys[:size])), 0
        )
        self._held = data[len(data) - length :]
        return data[: len(data) - length], False
