"""systemd's journal, by its native protocol: one datagram an entry, fields as lines.

A value with a newline in it is written as its name, a newline, its length and its bytes (systemd,
JOURNAL_NATIVE_PROTOCOL).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compose.runtime.spec import ContainerSpec

_INFORMATIONAL, _ERROR = b"6", b"3"


def field(name: bytes, value: bytes) -> bytes:
    """One field of an entry."""
    if b"\n" in value:
        return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name + b"=" + value + b"\n"


def _name(key: str) -> bytes:
    """A key as the journal takes it: capitals, digits and underscores, not one of those first."""
    found = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in key).upper()
    return found.lstrip("_0123456789").encode()[:64] or b"FIELD"


class Driver:
    """Lines -> entries."""

    def __init__(self, spec: ContainerSpec, logging: Any) -> None:
        own = {
            "CONTAINER_ID": spec["id"][:12],
            "CONTAINER_ID_FULL": spec["id"],
            "CONTAINER_NAME": spec["name"],
            "CONTAINER_TAG": logging["tag"],
            "SYSLOG_IDENTIFIER": logging["tag"],
            "IMAGE_NAME": spec.get("image_name", ""),
        }
        entries = [(key.encode(), value) for key, value in own.items()]
        entries += [(_name(key), value) for key, value in logging["extra"].items()]
        self._same = b"".join(field(key, value.encode("utf-8", "surrogateescape")) for key, value in entries)

    def packets(self, time_ns: int, stream: int, line: bytes) -> list[bytes]:
        """The entry of one line; stderr is an error, stdout informational."""
        priority = field(b"PRIORITY", _ERROR if stream else _INFORMATIONAL)
        written = field(b"SYSLOG_TIMESTAMP", b"%d" % (time_ns // 1_000_000_000))
        return [field(b"MESSAGE", line) + priority + written + self._same]
