"""/dev of a container, and the device nodes that its configuration asks for."""

from __future__ import annotations

import os
import stat

from compose.runtime.container.rootfs import open_target
from compose.runtime.container.steps import DEVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from compose.runtime.container.steps import Progress

_DEVICES = (
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_LINKS = (
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)


def fill_dev(tree: int) -> None:
    """The standard devices and links on a new and still detached /dev."""
    for name, major, minor in _DEVICES:
        make_device(tree, name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for name, text in _LINKS:
        os.symlink(text, name, dir_fd=tree)


def make_device(directory: int, name: str, mode: int, device: int) -> None:
    """A device node with exactly this mode, whatever the umask is."""
    os.mknod(name, mode, device, dir_fd=directory)
    os.chmod(name, stat.S_IMODE(mode), dir_fd=directory)


def make_devices(root: int, devices: Sequence[dict[str, Any]], progress: Progress) -> None:
    """The nodes of OCI ``linux.devices``, replacing what the image has at their paths."""
    kinds = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
    for index, device in enumerate(devices):
        progress.at(DEVICE, index)
        if device["path"] == "/dev/ptmx":  # ours leads to the container's own devpts, as with runc
            continue
        parent, _, name = device["path"].rstrip("/").rpartition("/")
        directory = open_target(root, parent or "/", directory=True)
        mode = kinds[device["type"]] | device.get("fileMode", 0o666)
        number = os.makedev(device.get("major", 0), device.get("minor", 0))
        try:
            make_device(directory, name, mode, number)
        except FileExistsError:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if stat.S_IFMT(found.st_mode) != stat.S_IFMT(mode) or found.st_rdev != number:
                raise
        os.chown(name, device.get("uid", 0), device.get("gid", 0), dir_fd=directory, follow_symlinks=False)
        os.close(directory)
