"""GELF 1.1: JSON, compressed and in chunks over UDP, each ended by a zero byte over TCP."""

from __future__ import annotations

import os

from compose.runtime.output.shipping.syslog import pieces
from compose.state.files import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compose.runtime.spec import ContainerSpec

_INFORMATIONAL, _ERROR = 6, 3
_CHUNK = 1420 - 12
_MOST_CHUNKS = 128
_GZIP, _ZLIB = 31, 15
"""Window sizes that ask zlib for these containers."""


class Driver:
    """Lines -> messages."""

    def __init__(self, spec: ContainerSpec, logging: Any) -> None:
        options = logging["options"]
        self._stream: bool = logging["stream"]
        self._window = {"gzip": _GZIP, "zlib": _ZLIB}.get(options.get("gelf-compression-type") or "gzip", 0)
        self._level = int(options.get("gelf-compression-level") or 1)
        self._same: dict[str, Any] = {
            "version": "1.1",
            "host": os.uname().nodename,
            "_container_id": spec["id"],
            "_container_name": spec["name"],
            "_image_id": spec.get("image", ""),
            "_image_name": spec.get("image_name", ""),
            "_command": " ".join(spec["oci"]["process"].get("args") or ()),
            "_tag": logging["tag"],
            "_created": _time(spec.get("created", 0)),
            **{f"_{key}": value for key, value in logging["extra"].items()},
        }

    def packets(self, time_ns: int, stream: int, line: bytes) -> list[bytes]:
        """What is sent for one line; stderr is an error, stdout informational."""
        found: list[bytes] = []
        for piece in pieces(line):
            value = {
                **self._same,
                "short_message": piece.decode("utf-8", "replace") or "-",
                "timestamp": time_ns // 1_000_000 / 1000,
                "level": _ERROR if stream else _INFORMATIONAL,
            }
            data = dumps(value)
            found += [data + b"\0"] if self._stream else _chunks(self._compressed(data))
        return found

    def _compressed(self, data: bytes) -> bytes:
        if not self._window:
            return data
        import zlib

        work = zlib.compressobj(self._level, zlib.DEFLATED, self._window)
        return work.compress(data) + work.flush()


def _chunks(data: bytes) -> list[bytes]:
    """One datagram, or numbered parts of it; what needs too many of them is left out."""
    if len(data) <= _CHUNK + 12:
        return [data]
    count = -(-len(data) // _CHUNK)
    if count > _MOST_CHUNKS:
        return []
    head = b"\x1e\x0f" + os.urandom(8)
    return [
        head + bytes([number, count]) + data[number * _CHUNK : (number + 1) * _CHUNK]
        for number in range(count)
    ]


def _time(time_ns: int) -> str:
    import time

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ns // 1_000_000_000))
