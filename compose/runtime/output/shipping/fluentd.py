"""Fluentd's forward protocol, in message mode: a MessagePack array of tag, time and record a line."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compose.runtime.spec import ContainerSpec


def text(value: bytes) -> bytes:
    """A MessagePack string."""
    size = len(value)
    if size < 32:
        return bytes([0xA0 | size]) + value
    if size < 1 << 8:
        return b"\xd9" + bytes([size]) + value
    if size < 1 << 16:
        return b"\xda" + struct.pack(">H", size) + value
    return b"\xdb" + struct.pack(">I", size) + value


def mapping(entries: dict[bytes, bytes]) -> bytes:
    """A MessagePack map of strings."""
    size = len(entries)
    head = bytes([0x80 | size]) if size < 16 else b"\xde" + struct.pack(">H", size)
    return head + b"".join(text(key) + text(value) for key, value in entries.items())


class Driver:
    """Lines -> messages."""

    def __init__(self, spec: ContainerSpec, logging: Any) -> None:
        self._tag = text(logging["tag"].encode("utf-8", "surrogateescape"))
        self._fine = str(logging["options"].get("fluentd-sub-second-precision")).lower() == "true"
        own = {"container_id": spec["id"], "container_name": f"/{spec['name']}", **logging["extra"]}
        self._same = {key.encode(): value.encode("utf-8", "surrogateescape") for key, value in own.items()}

    def packets(self, time_ns: int, stream: int, line: bytes) -> list[bytes]:
        """What is sent for one line."""
        seconds, rest = divmod(time_ns, 1_000_000_000)
        if self._fine:  # the extension type EventTime
            when = b"\xd7\x00" + struct.pack(">II", seconds, rest)
        else:
            when = b"\xce" + struct.pack(">I", seconds)
        source = b"stderr" if stream else b"stdout"
        record = mapping({**self._same, b"source": source, b"log": line})
        return [b"\x93" + self._tag + when + record]
