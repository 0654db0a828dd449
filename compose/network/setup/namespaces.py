"""Network namespaces that are pinned by a bind mount on a private tmpfs at `Paths.namespaces`.

The mount is private, so a pin does not spread to other mount namespaces. One that was made by copying ours
(``unshare --mount``, a service manager) may still hold a pin; that is why nothing relies on a namespace
ending when we let go of it. The tmpfs goes with the last pin.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from compose.errors import NetworkError
from compose.linux.mount import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    mount,
    umount2,
)
from compose.linux.namespaces import CLONE_NEWNET, setns, unshare

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compose.state.paths import Paths

_OWN = "/proc/thread-self/ns/net"
_NS_GET_NSTYPE = 0xB703


class Namespaces:
    """The pins below one directory; remembers the namespace it was made in, which plays the host."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.directory = paths.namespaces
        self.host = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def host_identity(self) -> str:
        """Device and inode: two namespaces that live at the same time differ in it."""
        status = os.fstat(self.host)
        return f"{status.st_dev}:{status.st_ino}"

    def prepare(self) -> None:
        """Make the private mount; does nothing where it is."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        if not os.path.ismount(self.directory):
            mount("pycompose", self.directory, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=4m")
            mount(None, self.directory, None, MS_PRIVATE)

    def open(self, path: str) -> int | None:
        """A descriptor of the namespace pinned at `path`; None where nothing, or no namespace, is."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise
        try:
            if fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == CLONE_NEWNET:
                return descriptor
        except OSError as error:  # an ordinary file: made, but killed before the bind
            if error.errno != errno.ENOTTY:
                os.close(descriptor)
                raise
        os.close(descriptor)
        return None

    def ensure(self, path: str) -> tuple[int, bool]:
        """A descriptor of the namespace pinned at `path`, and whether it is new.

        The thread is in that namespace afterwards if it is new, and where it was if not.
        """
        found = self.open(path)
        if found is not None:
            return found, False
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        unshare(CLONE_NEWNET)
        mount(_OWN, path, None, MS_BIND)
        return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC), True

    def enter(self, descriptor: int) -> None:
        """Move the thread there."""
        setns(descriptor, CLONE_NEWNET)

    @contextlib.contextmanager
    def inside(self, path: str, what: str) -> Iterator[int]:
        """Enter the namespace pinned at `path`, and return to the host's; `NetworkError` if none is."""
        descriptor = self.open(path)
        if descriptor is None:
            kind, _dash, owner = os.path.basename(path).partition("-")
            named = f" -p {owner}" if kind == "p" else ""
            raise NetworkError(f"{what}: its network namespace is not there", hint=f"pycompose{named} up -d")
        try:
            self.enter(descriptor)
            yield descriptor
        finally:
            self.enter(self.host)
            os.close(descriptor)

    @contextlib.contextmanager
    def inside_if_there(self, path: str) -> Iterator[bool]:
        """Enter the namespace pinned at `path`, if one is, and return to the host's; whether one is."""
        descriptor = self.open(path)
        if descriptor is None:
            yield False
            return
        try:
            self.enter(descriptor)
            yield True
        finally:
            self.enter(self.host)
            os.close(descriptor)

    def remove(self, path: str) -> None:
        """Let go of a pin; nothing there is no error."""
        try:
            umount2(path, MNT_DETACH)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def names(self) -> list[str]:
        """The pins' names: ``c-ID`` of containers, ``p-PROJECT`` of sandboxes."""
        try:
            return sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []

    def finish(self) -> None:
        """Unmount the private mount when nothing is pinned any more."""
        if os.path.ismount(self.directory) and not self.names():
            umount2(self.directory, MNT_DETACH)
        with contextlib.suppress(OSError):
            os.rmdir(self.directory)


def set_sysctl(name: str, value: str) -> None:
    """Write ``/proc/sys/NAME`` of the namespace that the thread is in, `name` with slashes."""
    try:
        descriptor = os.open(f"/proc/sys/{name}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise NetworkError(f"set {name.replace('/', '.')}: {os.strerror(error.errno or 0)}") from error
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise NetworkError(f"set {name.replace('/', '.')} to {value}: {reason}") from error
    finally:
        os.close(descriptor)


def get_sysctl(name: str) -> str | None:
    """The value of ``/proc/sys/NAME``; None where the kernel has no such setting."""
    try:
        with open(f"/proc/sys/{name}") as file:
            return file.read().strip()
    except OSError:
        return None


def has_ipv6() -> bool:
    """Whether the kernel speaks IPv6 at all."""
    return os.path.isdir("/proc/sys/net/ipv6/conf")
