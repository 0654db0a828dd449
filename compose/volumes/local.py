"""``driver_opts`` of a volume: what is mounted for it, as Docker's local driver does it.

    {type: none, o: bind, device: /srv/data}             that directory itself; nothing is mounted
    {type: tmpfs, device: tmpfs, o: "size=64m,uid=1000"}  mount(2) on the volume's directory, on the host
    {type: nfs, device: ":/export", o: "addr=10.0.0.1,ro"}

A mount is there from the moment when the first container is made until no container has the volume any more.
"""

from __future__ import annotations

import os

from compose.errors import VolumeError
from compose.linux import mount as m

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FLAGS = {
    "ro": m.MS_RDONLY,
    "nosuid": m.MS_NOSUID,
    "nodev": m.MS_NODEV,
    "noexec": m.MS_NOEXEC,
    "sync": m.MS_SYNCHRONOUS,
    "dirsync": m.MS_DIRSYNC,
    "noatime": m.MS_NOATIME,
    "nodiratime": m.MS_NODIRATIME,
    "relatime": m.MS_RELATIME,
    "strictatime": m.MS_STRICTATIME,
}
_DEFAULTS = frozenset({"defaults", "rw", "suid", "dev", "exec", "async", "atime", "diratime"})
_BINDS = frozenset({"bind", "rbind"})
_NETWORKS = ("nfs", "nfs4", "cifs", "smb3")
_KEYS = frozenset({"type", "o", "device"})


class Local:
    """What a volume is, sorted out."""

    __slots__ = ("data", "device", "flags", "is_bind", "kind", "name")

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        """Raises `VolumeError` for what can never be mounted."""
        self.name = name
        for key in options:
            if key not in _KEYS:
                raise VolumeError(
                    f"volume {name}: driver_opts.{key}: there is no such option",
                    hint="there are type, o and device",
                )
        self.kind, self.device = options.get("type") or "", options.get("device") or ""
        words = [word for word in (options.get("o") or "").split(",") if word]
        self.is_bind = bool(_BINDS.intersection(words))
        self.flags = 0
        rest = []
        for word in words:
            self.flags |= _FLAGS.get(word, 0)
            if word not in _FLAGS and word not in _DEFAULTS and word not in _BINDS:
                rest.append(word)
        self.data = ",".join(rest)
        if not self.device or (not self.kind and not self.is_bind):
            missing = "type" if self.device else "device"
            raise VolumeError(
                f"volume {name}: driver_opts has no {missing}",
                hint='write {type: none, o: bind, device: /directory}, or {type: nfs, o: "addr=HOST",'
                ' device: ":/export"}',
            )
        if self.is_bind and not self.device.startswith("/"):
            raise VolumeError(
                f"volume {name}: driver_opts.device: {self.device} is not an absolute path",
                hint="write the whole path; a relative one needs `driver: local` and nothing but `o: bind`",
            )

    @property
    def read_only(self) -> bool:
        return bool(self.flags & m.MS_RDONLY)

    def check(self) -> None:
        """Refuse a directory that is not there; raises `VolumeError`."""
        if self.is_bind and not os.path.isdir(self.device):
            raise VolumeError(
                f"volume {self.name}: {self.device} is not a directory", hint="make it, or change `device`"
            )

    def mount(self, directory: str) -> None:
        """Mount it on `directory`; raises `VolumeError`."""
        try:
            m.mount(self.device, directory, self.kind, self.flags, self._resolved() or None)
        except OSError as error:
            words = {19: f"this kernel has no file system {self.kind}"}
            reason = words.get(error.errno or 0) or os.strerror(error.errno or 0)
            raise VolumeError(f"volume {self.name}: mount {self.device} ({self.kind}): {reason}") from None

    def _resolved(self) -> str:
        """The options, with an address in ``addr``: the kernel looks no names up."""
        if self.kind not in _NETWORKS:
            return self.data
        words = self.data.split(",") if self.data else []
        if self.kind in ("cifs", "smb3") and not any(word.startswith("addr=") for word in words):
            words.append(f"addr={self.device.lstrip('/').partition('/')[0]}")
        return ",".join(f"addr={self._address(w[5:])}" if w.startswith("addr=") else w for w in words)

    def _address(self, host: str) -> str:
        import socket

        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise VolumeError(f"volume {self.name}: addr={host}: {error.strerror}") from None
        return str(min(found, key=lambda one: one[0] != socket.AF_INET)[4][0])  # IPv4 first, as Docker


def is_mounted(directory: str) -> bool:
    """Whether something is mounted on exactly this directory."""
    return os.path.realpath(directory) in _mount_points()


def mounted_below(directory: str) -> list[str]:
    """The mount points in a directory, at any depth."""
    start = f"{os.path.realpath(directory)}/"
    return [path for path in _mount_points() if path.startswith(start)]


def _mount_points() -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        return [_unescaped(line.split(" ", 5)[4]) for line in file]


def _unescaped(text: str) -> str:
    """A path as the kernel writes it: blanks and backslashes as octal numbers."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
