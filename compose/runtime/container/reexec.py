"""Executing the Python interpreter so that no container can overwrite its file (CVE-2019-5736).

A container whose entry point is ``#!/proc/self/exe`` makes the kernel run whatever program our process was
executed from, inside the container, where its file can be opened for writing afterwards. So keeper, monitors
and everything that enters a container run from a read-only clone of the mount that the file lies on, or,
where that cannot be had, from a sealed copy in memory.

    with interpreter() as program:
        os.posix_spawn(program.path, [sys.executable, ...], {**environment, **program.environment}, ...)
"""

from __future__ import annotations

import fcntl
import os
import sys

from compose.linux import files
from compose.linux import mount as m

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_ADD_SEALS, _SEAL_ALL = 1033, 0x0F  # F_ADD_SEALS; F_SEAL_SEAL | SHRINK | GROW | WRITE
_OUT_OF_THE_WAY = 10  # descriptors below are what the new program gets


class Interpreter:
    """A descriptor of the interpreter's file that nobody can write through.

    `path` is to be executed, with sys.executable as argv[0] (from which Python finds its library), and
    `environment` goes with it: `forget_environment` removes it again at once. Use as a context manager around
    the exec; the descriptor is close-on-exec.
    """

    __slots__ = ("_descriptor", "environment", "path")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.path = f"/proc/self/fd/{descriptor}"
        library = _library_directory()
        self.environment = {"LD_LIBRARY_PATH": library} if library else {}

    def __enter__(self) -> Interpreter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)


def interpreter(file: str = "") -> Interpreter:
    """The running interpreter (or `file`) as a read-only clone, else as a sealed copy; raises OSError."""
    path = os.path.realpath(file or sys.executable)
    try:
        descriptor = _clone(path)
    except OSError:
        descriptor = _copy(path)
    try:
        return Interpreter(files.dup_above(descriptor, _OUT_OF_THE_WAY))
    finally:
        os.close(descriptor)


def forget_environment() -> None:
    """Called first by the program that was executed: its own children find their libraries themselves."""
    os.environ.pop("LD_LIBRARY_PATH", None)


def _clone(path: str) -> int:
    """A detached read-only mount of just this file; needs CAP_SYS_ADMIN."""
    tree = m.open_tree(m.AT_FDCWD, path, m.OPEN_TREE_CLONE)
    try:
        m.mount_setattr(
            tree, "", flags=m.AT_EMPTY_PATH, attr_set=m.MOUNT_ATTR_RDONLY, propagation=m.MS_PRIVATE
        )
    except BaseException:
        os.close(tree)
        raise
    return tree


def _copy(path: str) -> int:
    """A copy in memory that is sealed against every change."""
    flags = files.MFD_CLOEXEC | files.MFD_ALLOW_SEALING
    try:
        copy = files.memfd_create("python", flags | files.MFD_EXEC)
    except OSError:  # before Linux 6.3 every memfd can be executed
        copy = files.memfd_create("python", flags)
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while os.sendfile(copy, source, None, 1 << 30):
                continue
        finally:
            os.close(source)
        fcntl.fcntl(copy, _ADD_SEALS, _SEAL_ALL)
        # Linux refuses to execute what is open for writing (ETXTBSY), so go on with a read-only descriptor.
        readable = os.open(f"/proc/self/fd/{copy}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(copy)
    return readable


def _library_directory() -> str:
    """Where our libpython lies, if there is one: $ORIGIN means nothing below /proc/self/fd."""
    with open("/proc/self/maps", "rb") as maps:
        for line in maps:
            path = line.rstrip(b"\n").partition(b"/")[2]
            if path and os.path.basename(path).startswith(b"libpython"):
                return os.fsdecode(os.path.dirname(b"/" + path))
    return ""
