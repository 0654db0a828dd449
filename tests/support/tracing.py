"""A process of a container that traces whatever enters it, as far as it is let, and says what it got.

It has the container's pid namespace and its capabilities, and of the host only its files, so that it can be
written in Python: it never looks at them.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import time
from typing import TYPE_CHECKING

from compose.linux import mount as m
from compose.linux.namespaces import CLONE_NEWNS, CLONE_NEWPID, setns, unshare
from compose.linux.process import capset
from compose.runtime.container import capabilities
from tests.support.command import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_SYSCALL, _DETACH, _SEIZE, _INTERRUPT = 24, 17, 0x4206, 0x4207
WALL = 0x40000000
"""The option of waitpid(2) for whoever is traced, too."""
_AHEAD = 4
"""Numbers of processes not yet born that are tried in turn."""
_SPINS = 64
_MOST_STOPS = 400

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class Catch:
    """What was got of one process before it had executed its program: the most at any moment."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.permitted: int = found["permitted"]
        """Its capabilities, as a mask."""
        self.descriptors: dict[str, str] = found["descriptors"]
        self.roots: set[tuple[int, int]] = {(device, inode) for device, inode in found["roots"]}
        """Its root directories: device and inode."""
        self.has_secret: bool = found["has_secret"]
        """Whether its memory held what the tracer looked for."""


class Tracer:
    """A context manager in which everything that is born in the pid namespace of a process is traced."""

    def __init__(self, pidfd: int, names: Iterable[str], secret: bytes) -> None:
        """`names` are the capabilities that it has, `secret` is what it looks for in others' memory."""
        ready, tell_ready = os.pipe()
        self._ended, stop = os.pipe()
        self._caught, tell_caught = os.pipe()
        self._result, tell_result = os.pipe()
        self._stop = stop
        self._child = os.fork()
        if self._child == 0:
            try:
                os.close(stop)
                setns(pidfd, CLONE_NEWPID)
                tracer = os.fork()
                if tracer == 0:
                    _trace(names, secret, tell_ready, self._ended, tell_caught, tell_result)
                os.waitpid(tracer, 0)
            finally:
                os._exit(0)
        for descriptor in (tell_ready, tell_caught, tell_result, self._ended):
            os.close(descriptor)
        assert os.read(ready, 1), "there is no tracer"
        os.close(ready)
        self.catches: list[Catch] = []

    def __enter__(self) -> Tracer:
        return self

    def wait_for_a_catch(self, again: Callable[[], object]) -> None:
        """Call `again`, which lets a process be born, until one has been caught."""
        began = time.monotonic()
        while not select.select([self._caught], [], [], 0)[0]:
            assert time.monotonic() - began < PATIENCE, "the tracer catches nobody"
            again()
        assert os.read(self._caught, 1), "the tracer has ended"

    def __exit__(self, *_: object) -> None:
        os.close(self._stop)
        with os.fdopen(self._result) as file:
            text = file.read()
        os.waitpid(self._child, 0)
        os.close(self._caught)
        self.catches = [Catch(found) for found in json.loads(text)]


def seize(pid: int) -> None:
    """Trace a process without stopping it."""
    if _libc.ptrace(_SEIZE, pid, None, None):
        raise OSError(ctypes.get_errno(), f"ptrace {pid}")


def _trace(names: Iterable[str], secret: bytes, ready: int, ended: int, caught: int, result: int) -> None:
    try:
        unshare(CLONE_NEWNS)
        proc = m.new_mount("proc", {}, 0, "proc")
        mask = capabilities.mask(names)
        capabilities.limit_bounding_set(mask)
        capset(mask, mask, 0)
        os.write(ready, b"r")
        os.close(ready)
        found = []
        following = _last(proc) + 1
        while not select.select([ended], [], [], 0)[0]:
            number = _seize(following)
            if not number:
                following = max(following, _last(proc) - _AHEAD + 1)
                continue
            following = number + 1
            one = _inspect(proc, number, secret)
            if one:
                found.append(one)
                os.write(caught, b"c")
        with os.fdopen(result, "w") as file:
            json.dump(found, file)
    finally:
        os._exit(0)


def _last(proc: int) -> int:
    """The number of the process that was born last."""
    return int(_read(proc, "loadavg").split()[-1])


def _seize(first: int) -> int:
    """The first process of the next ones that can be traced, or 0 after some time."""
    ptrace = _libc.ptrace
    for _ in range(_SPINS):
        for number in range(first, first + _AHEAD):
            if ptrace(_SEIZE, number, None, None) == 0:
                return number
    return 0


def _inspect(proc: int, pid: int, secret: bytes) -> dict[str, Any]:
    """Go with a process from one system call to the next until it has executed its program; empty when it had
    done so already."""
    found: dict[str, Any] = {"permitted": 0, "descriptors": {}, "roots": [], "has_secret": False}
    ours = _read_link(proc, "self/exe")
    _libc.ptrace(_INTERRUPT, pid, None, None)
    for stop in range(_MOST_STOPS):
        _, status = os.waitpid(pid, WALL)
        if not os.WIFSTOPPED(status):
            return found if stop else {}
        if _read_link(proc, f"{pid}/exe") != ours:
            break
        _note(proc, pid, found)
        if not stop:
            found["has_secret"] = _holds(proc, pid, secret)
        if stop == _MOST_STOPS - 1:
            break
        _libc.ptrace(_SYSCALL, pid, None, None)
    _libc.ptrace(_DETACH, pid, None, None)
    return found if found["roots"] else {}


def _note(proc: int, pid: int, found: dict[str, Any]) -> None:
    for line in _read(proc, f"{pid}/status").splitlines():
        name, _, value = line.partition(":")
        if name in ("CapPrm", "CapEff"):
            found["permitted"] |= int(value, 16)
    place = os.open(f"{pid}/fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
    for name in os.listdir(place):
        found["descriptors"][name] = _read_link(place, name)
    os.close(place)
    root = os.stat(f"{pid}/root", dir_fd=proc)
    if [root.st_dev, root.st_ino] not in found["roots"]:
        found["roots"].append([root.st_dev, root.st_ino])


def _holds(proc: int, pid: int, secret: bytes) -> bool:
    memory = os.open(f"{pid}/mem", os.O_RDONLY, dir_fd=proc)
    try:
        for line in _read(proc, f"{pid}/maps").splitlines():
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            try:
                if secret in os.pread(memory, last - first, first):
                    return True
            except (OSError, OverflowError):  # the kernel's own pages, and such as cannot be read
                continue
    finally:
        os.close(memory)
    return False


def _read(directory: int, path: str) -> str:
    with open(os.open(path, os.O_RDONLY, dir_fd=directory)) as file:
        return file.read()


def _read_link(directory: int, path: str) -> str:
    try:
        return os.readlink(path, dir_fd=directory)
    except OSError:
        return ""
