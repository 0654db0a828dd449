"""SELinux: the label that lets containers use a file of the host."""

from __future__ import annotations

import os

CONTAINER_FILE = b"system_u:object_r:container_file_t:s0\0"
_ATTRIBUTE = "security.selinux"
_ENOTSUP = 95


_NEVER = frozenset(
    "/ /bin /boot /dev /etc /home /lib /lib64 /media /mnt /opt /proc /root /run /sbin /srv /sys /tmp /usr"
    " /var /var/lib /var/log".split()
)
"""Directories of the system: with the label of container files its own services could not read them."""


def may_relabel(path: str) -> bool:
    """Whether a path is no directory of the system itself."""
    return os.path.realpath(path) not in _NEVER


def enabled() -> bool:
    """Whether the kernel runs with SELinux, enforcing or not."""
    return os.path.exists("/sys/fs/selinux/enforce")


def relabel(path: str, label: bytes = CONTAINER_FILE) -> None:
    """Give a file, or a directory and all that lies in it on the same file system, a label.

    Links get none, and what they point to is left alone. File systems that hold no labels are passed over.
    Raises OSError.
    """
    device = os.stat(path).st_dev
    _label(path, label)
    if not os.path.isdir(path):
        return
    for _directory, names, files, descriptor in os.fwalk(path):
        if os.fstat(descriptor).st_dev != device:
            names.clear()
            continue
        for name in (*names, *files):
            try:
                _label(f"/proc/self/fd/{descriptor}/{name}", label)
            except FileNotFoundError:  # gone meanwhile
                continue


def _label(path: str, label: bytes) -> None:
    if os.path.islink(path):
        return
    try:
        if os.getxattr(path, _ATTRIBUTE, follow_symlinks=False) == label:
            return
    except OSError:
        pass  # none yet
    try:
        os.setxattr(path, _ATTRIBUTE, label, follow_symlinks=False)
    except OSError as error:
        if error.errno != _ENOTSUP:
            raise
