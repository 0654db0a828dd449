"""Syslog: RFC 3164, RFC 5424, or what the local daemon takes, laid out as Docker does it."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from compose.runtime.spec import ContainerSpec

_INFORMATIONAL, _ERROR = 6, 3
_LONGEST = 16384
"""Bytes of a line that go into one message, as with Docker."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def pieces(line: bytes, size: int = _LONGEST) -> list[bytes]:
    """A line in parts that one message can carry; an empty line is one too."""
    return [line[place : place + size] for place in range(0, len(line), size)] or [b""]


class Driver:
    """Lines -> packets."""

    def __init__(self, spec: ContainerSpec, logging: Any) -> None:
        self._format: str = logging["options"].get("syslog-format") or ""
        self._facility: int = logging["facility"]
        self._tag: bytes = logging["tag"].encode("utf-8", "surrogateescape")
        self._host = os.uname().nodename.encode()
        self._pid = b"%d" % os.getpid()
        self._end = b"\n" if logging["stream"] else b""

    def packets(self, time_ns: int, stream: int, line: bytes) -> list[bytes]:
        """What is sent for one line; stderr is an error, stdout informational."""
        priority = self._facility * 8 + (_ERROR if stream else _INFORMATIONAL)
        head = b"<%d>" % priority + self._head(time_ns)
        return [head + piece + self._end for piece in pieces(line)]

    def _head(self, time_ns: int) -> bytes:
        if self._format in ("rfc5424", "rfc5424micro"):
            stamp = _rfc3339(time_ns, micro=self._format == "rfc5424micro")
            return b"1 %s %s %s %s %s - " % (stamp, self._host, self._tag, self._pid, self._tag)
        when = time.localtime(time_ns // 1_000_000_000)
        clock = f"{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02}"
        stamp = f"{_MONTHS[when.tm_mon - 1]} {when.tm_mday:2} {clock}".encode()
        if self._format == "rfc3164":
            return b"%s %s %s[%s]: " % (stamp, self._host, self._tag, self._pid)
        return b"%s %s[%s]: " % (stamp, self._tag, self._pid)


def _rfc3339(time_ns: int, *, micro: bool) -> bytes:
    when = time.localtime(time_ns // 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", when)
    if micro:
        text += f".{time_ns // 1000 % 1_000_000:06}"
    minutes = when.tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    zone = f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}" if minutes else "Z"
    return (text + zone).encode()
