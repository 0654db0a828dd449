"""Another file at the place of a mounted one, inside a container that runs.

Nothing is looked up in there: the new mount is made on the host, the old one is known by the descriptor that
`launch` attached it with, and the process that joins the container's mount namespace makes four system calls
and ends. Since Linux 6.5 the new mount is put beneath the old one, which then goes: whoever opens the file
finds one or the other. Before that the old one goes first, and for some microseconds the file is empty: it
shows /dev/null, the mount below (`floor`), because nothing can be mounted on a file that has been removed.
"""

from __future__ import annotations

import os

from compose.linux import mount as m
from compose.linux.namespaces import CLONE_NEWNS, reset_pid_namespace, setns
from compose.linux.process import PR_SET_DUMPABLE, prctl
from compose.linux.vfork import forking
from compose.runtime.container.mounts.masks import open_null

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

ON_JOINED: Callable[[], None] | None = None
"""Called in the child once it is inside the container; tests install an audit hook here."""

_DONE, _FAILED = 0, 1


def has_beneath() -> bool:
    """Whether the kernel can put one mount beneath another."""
    major, minor = os.uname().release.split(".")[:2]  # "6.1-rc2" is possible
    digits = len(minor) - len(minor.lstrip("0123456789"))
    return (int(major), int(minor[:digits])) >= (6, 5)


def floor() -> int:
    """A detached mount: what has to be attached below the first file on a kernel before 6.5."""
    return open_null()


def swap(pidfd: int, old: Sequence[int], new: int, floor: int = -1) -> bool:
    """Put the detached mount `new` in the place of that one of `old` which is attached in there.

    `old` has several candidates after a swap that was killed. False when none of them is there any more, the
    container has ended, or the new file has been removed meanwhile; nothing has changed then.
    """
    reset_pid_namespace()  # the container must not see the child
    with forking:
        pid = os.fork()
        if pid == 0:
            _swap(pidfd, old, new, floor)
    return os.waitpid(pid, 0)[1] == _DONE


def _swap(pidfd: int, old: Sequence[int], new: int, floor: int) -> NoReturn:
    """In the child."""
    status = _FAILED
    try:
        prctl(PR_SET_DUMPABLE, 0)
        descriptors = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        setns(pidfd, CLONE_NEWNS)
        if ON_JOINED is not None:
            ON_JOINED()
        os.fchdir(descriptors)  # the host's procfs: a name in it is one of our descriptors
        if floor >= 0:
            _after(old, new, floor)
            status = _DONE
        elif any(_beneath(descriptor, new) for descriptor in old):
            status = _DONE
    finally:
        os._exit(status)


def _beneath(old: int, new: int) -> bool:
    try:
        m.move_mount_beneath(new, old)
    except OSError:
        return False
    _detach(old)
    return True


def _after(old: Sequence[int], new: int, floor: int) -> None:
    for descriptor in old:
        _detach(descriptor)
    m.move_mount(new, floor)


def _detach(descriptor: int) -> None:
    try:
        m.umount2(str(descriptor), m.MNT_DETACH)
    except OSError:  # the kernel was quicker: the file below has been removed, and what is on it with it
        return
