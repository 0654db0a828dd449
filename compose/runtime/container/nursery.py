"""Processes that are born in a container again and again, as health probes are.

Who goes the way in (way.py) does not end with the first birth here, but stays where he is, outside of the
container's pid namespace and with no more rights and memory than what he lets be born: a nurse. Each birth is
one fork of next to no memory, where going the whole way takes ten times as long. What may have changed is
done anew each time: the working directory is looked up, and the files are looked at that say who the user is.

The nurse is asked by a packet with the descriptor for the output on a socket, whose other end is ours; when
that is closed he ends. He has it in the place of the report's descriptor, and so has who is born until he has
executed his program. Others may have taken it from him: what comes out of our end is therefore no more than
a reason to look at the memory that the nurse shares with us, or says that a program could not be executed.
"""

from __future__ import annotations

import _socket
import ctypes
import os
import struct

from compose.linux import files, sockets
from compose.linux import numbers as n
from compose.linux.namespaces import reset_pid_namespace
from compose.linux.process import pidfd_open, pidfd_send_signal
from compose.linux.vfork import ANY_ERROR, REPORT, forking
from compose.runtime.container import birth as births
from compose.runtime.container import users
from compose.runtime.container.enter import open_root
from compose.runtime.container.hardening import Program
from compose.runtime.container.steps import Failure
from compose.runtime.container.way import Way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.container.users import Identity, Stamp
    from compose.runtime.spec import Process

_SIGKILL = 9
_HERE = -100  # AT_FDCWD
_RIGHTS = _socket.CMSG_SPACE(4)
_MESSAGE = struct.Struct("@PIPNPNi")
"""struct msghdr"""
_STATX = struct.Struct("=32xQQ48xqI4xqI12xII")
"""struct statx: inode, size, ctime, mtime, device."""
_STATX_SIZE = 256
_STATX_WANTED = 0x3C0  # STATX_CTIME | STATX_MTIME | STATX_INO | STATX_SIZE
_READ = (b"/etc/passwd", b"/etc/group")
_SIZE_OF_REPORT = 16
_MOST_PACKETS = 3
"""For one birth: that he is ready, that it has happened, that the program could not be executed."""
_NOTHING = b"\0"


class Regular:
    """What is known beforehand of a process that comes again and again."""

    __slots__ = ("_cgroup", "_identity", "_may_go_on", "_process", "_program", "_seccomp", "_stamp")

    def __init__(self, process: Process, seccomp: str | bytes, cgroup: Cgroup | None) -> None:
        """`seccomp` is a compiled program or its path, as in the container's spec."""
        self._process = process
        self._seccomp = seccomp
        self._cgroup = cgroup
        self._program: Program | None = None
        self._may_go_on = False
        self._identity: Identity | None = None
        self._stamp: Stamp = ()

    def look(self, pid: int, pidfd: int) -> None:
        """Find out who the user is, in the container whose process 1 is `pid`; its files can hold that up.
        Raises LaunchError, OSError."""
        if self._program is None:
            self._program = Program(self._process, self._seccomp)
            self._may_go_on = self._program.may_go_on()
        if not self._may_go_on:
            raise PermissionError("its seccomp profile allows no fork")
        root = open_root(pid, pidfd)
        try:
            self._stamp = users.stamp(root)
            self._identity = users.resolve(self._process.get("user") or {}, root)
        except Failure:
            raise OSError("the user cannot be resolved") from None
        finally:
            os.close(root)

    def open(self, pidfd: int) -> Nursery:
        """Have a nurse, after `look`. Raises OSError."""
        assert self._program is not None and self._identity is not None
        return Nursery(self._program, self._identity, self._cgroup, pidfd, self._stamp)


class Nursery:
    """One nurse. He may end at any time, which his `pidfd` tells."""

    __slots__ = (
        *("_packets", "_pid", "_shared", "_socket", "_stamp", "_uid", "_way"),
        *("failed", "pidfd", "ready"),
    )

    def __init__(
        self, program: Program, identity: Identity, cgroup: Cgroup | None, pidfd: int, stamp: Stamp
    ) -> None:
        self._uid = identity.uid
        self._stamp = stamp
        self._packets = 0
        self.failed = False
        """Whether who was born last could not execute his program."""
        self.ready = False
        """Whether he has begun, and holds nothing any more that is not his own."""
        self._way = Way(program, identity, cgroup)
        reset_pid_namespace()
        with forking:  # until their end is closed here: another thread's child would keep it open
            self._socket, theirs = sockets.pair()
            null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            end = files.dup_above(theirs.fileno(), REPORT + 1)
            try:
                self._write(pidfd, null, end)
                self._pid = self._way.begin()
            finally:
                os.close(end)
                os.close(null)
                theirs.close()
        try:
            self.pidfd = pidfd_open(self._pid)
        except OSError:  # he ends without our end of the socket
            births.not_reaped.append(self._pid)
            raise

    def _write(self, pidfd: int, null: int, end: int) -> None:
        way, calls = self._way, self._way.calls
        way.prepare()
        way.join(pidfd)
        calls.add(n.SYS_dup3, null, 0, 0)
        calls.add(n.SYS_dup3, end, REPORT, os.O_CLOEXEC)
        way.close(REPORT + 1)
        way.set_limits()
        way.set_identity()
        calls.share()
        again = calls.add(n.SYS_write, REPORT, calls.born_at, 8)
        way.close(1, 2)
        calls.add(n.SYS_recvmsg, REPORT, self._message(), 0)
        calls.add(n.SYS_dup3, 1, 2, 0)
        for number, path in enumerate(users.FILES):
            place = calls.shared + number * _STATX_SIZE
            name = b"/" + path.encode()
            calls.add(n.SYS_statx, _HERE, name, 0, _STATX_WANTED, place, tolerated=ANY_ERROR)
        way.enter_directory()
        calls.be_born(back_to=again)
        way.execute()

    def _message(self) -> bytes:
        """What recvmsg(2) is to fill; the descriptor becomes number 1, the first that is free."""
        point = self._way.calls.pointer
        vector = point(struct.pack("@PN", point(bytes(len(_NOTHING))), len(_NOTHING)))
        return _MESSAGE.pack(0, 0, vector, 1, point(bytes(_RIGHTS)), _RIGHTS, 0)

    def fileno(self) -> int:
        """What can be read when `hear` has something to say."""
        return self._socket.fileno()

    def ask(self, output: int) -> None:
        """Let one more be born, who writes to the pipe `output`. Raises OSError."""
        self._packets = 0
        self.failed = False
        if self._uid:
            os.fchown(output, self._uid, -1)
        calls = self._way.calls
        calls.forget_born()
        ctypes.memset(calls.shared, 0, len(users.FILES) * _STATX_SIZE)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, output.to_bytes(4, "little"))]
        self._socket.sendmsg([_NOTHING], rights, _socket.MSG_NOSIGNAL | _socket.MSG_DONTWAIT)

    def hear(self) -> bool:
        """Take the next packet; whether there was one. Raises OSError when nobody is there who means it."""
        try:
            data = self._socket.recv(_SIZE_OF_REPORT, _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        self.ready = True
        self._packets += 1
        if not data or self._packets > _MOST_PACKETS:
            raise ConnectionError
        self.failed = self.failed or len(data) == _SIZE_OF_REPORT
        return True

    def born(self) -> int:
        """The process id of the one that was asked for; 0: he has not been born yet."""
        return int(ctypes.c_int.from_address(self._way.calls.born_at).value)

    def is_stale(self) -> bool:
        """Whether the files that say who the user is were others when the last one was born."""
        data = ctypes.string_at(self._way.calls.shared, len(users.FILES) * _STATX_SIZE)
        return self._stamp != tuple(_stamp(data, number) for number in range(len(users.FILES)))

    def kill(self) -> None:
        """End him; `reap` when his pidfd can be read."""
        try:
            pidfd_send_signal(self.pidfd, _SIGKILL)
        except ProcessLookupError:
            return

    def reap(self) -> None:
        """He has ended, or never will."""
        try:
            os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:  # somebody's handler was quicker
            pass
        os.close(self.pidfd)
        self._socket.close()


def _stamp(data: bytes, number: int) -> tuple[int, ...]:
    """As `users.stamp` has it."""
    inode, size, changed, changed_ns, modified, modified_ns, major, minor = _STATX.unpack_from(
        data, number * _STATX_SIZE
    )
    if not inode:
        return (0,)
    times = modified * 1_000_000_000 + modified_ns, changed * 1_000_000_000 + changed_ns
    return os.makedev(major, minor), inode, size, *times
