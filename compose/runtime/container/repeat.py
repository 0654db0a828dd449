"""The way into a container for whatever enters it: a health probe, an exec.

What is to be done is found out beforehand, and written down as the system calls that come of it
(linux/vfork.py), in the order of `hardening.become`. A process of ours makes them outside of the container's
pid namespace, with nothing in its memory but that list; in there is born what executes the program, when it
has no more rights than that is to have and no descriptors but its own (birth.py). So it does not matter who
may trace it: nothing can be got from it that the container has not. It takes half of what a fork takes.

Whatever does not go as written down is left to `enter`, which forks and does the same, and can say what is
wrong.
"""

from __future__ import annotations

import os
import stat
import struct

from compose.linux import files, signals
from compose.linux import numbers as n
from compose.linux import process as p
from compose.linux.beneath import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
from compose.linux.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
)
from compose.linux.seccomp import SECCOMP_SET_MODE_FILTER
from compose.linux.terminal import TIOCSCTTY
from compose.linux.vfork import REPORT, Calls, forking, tolerate
from compose.runtime import oom
from compose.runtime.container import birth as births
from compose.runtime.container import capabilities, modules, terminals, users
from compose.runtime.container.hardening import Program
from compose.runtime.container.launch import Launched
from compose.runtime.container.steps import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.container.launch import Stdio
    from compose.runtime.container.users import Identity
    from compose.runtime.spec import Process

JOINED = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP
"""What whoever enters a container joins by setns; into the pid namespace its children are born."""

_ENOENT, _EACCES, _ENOTDIR, _ENOSYS = 2, 13, 20, 38
_SIGKILL = 9
_HERE = -100  # AT_FDCWD
_LAST_DESCRIPTOR = 0xFFFFFFFF
_MOST_FAILURES = 3


class Repeat:
    """What one call of `enter` has found out, for the next one of the very same process."""

    def __init__(self, process: Process, seccomp: str | bytes) -> None:
        self.process = process
        self.seccomp = seccomp
        self.program = Program(process, seccomp)
        self._stamp: object = None
        self._identity: users.Identity | None = None
        self._calls: _Written | None = None
        self._failures = 0

    def identity_in(self, root: int) -> Identity | None:
        """Whom the user means as long as the files that say so are the same; None: the child is to look."""
        stamp = users.stamp(root)
        if self._identity is None or self._stamp != stamp:
            try:
                self._identity = users.resolve(self.process.get("user") or {}, root)
            except (Failure, OSError):
                self._identity = None
            self._stamp = stamp
        return self._identity

    def spawn(
        self,
        identity: Identity | None,
        stdio: Stdio,
        cgroup: Cgroup | None,
        pidfd: int,
        root: int,
        birth: births.Birth | None = None,
    ) -> Launched | None:
        """Start the program in the container of `pidfd`, whose root directory is `root`; None: it did not go
        as written down, and nothing has been started."""
        program = self.program
        if identity is None or self._failures >= _MOST_FAILURES or program.preserved:
            return None
        held: list[int] = []
        master = None
        try:
            if not program.may_go_on():
                return None
            if program.process.get("terminal"):
                master, slave = terminals.open_inside(root)
                held.append(slave)
                program.resize(slave)
                descriptors = [slave] * 3
            else:
                descriptors = [stdio.stdin, stdio.stdout, stdio.stderr]
                if min(descriptors) <= REPORT:  # a new place would overwrite them
                    descriptors = [files.dup_above(number, REPORT + 1) for number in descriptors]
                    held += descriptors
            if self._calls is None or not self._calls.is_for(identity, descriptors, cgroup):
                self._calls = _Written(program, identity, descriptors, cgroup)
            launched = self._calls.spawn(descriptors, pidfd, birth or births.Birth())
            launched.master, master = master, None
            return launched
        except (Failure, OSError) as error:
            if not isinstance(error, BlockingIOError):  # else there is no room for one more process
                self._failures += 1
            return None
        finally:
            for number in [*held, *([master] if master is not None else [])]:
                os.close(number)


class _Written:
    """The calls for one user, one control group and one kind of descriptors."""

    def __init__(
        self, program: Program, identity: Identity, descriptors: Sequence[int], cgroup: Cgroup | None
    ) -> None:
        self._identity = identity
        self._cgroup = cgroup
        self._pipes = _pipes(descriptors)
        terminal = bool(program.process.get("terminal"))
        self._calls = Calls()
        self._prepare(program)
        self._setns = self._calls.add(n.SYS_setns, -1, JOINED | CLONE_NEWPID)
        self._stdio = [self._calls.add(n.SYS_dup3, -1, target, 0) for target in range(3)]
        self._report = self._calls.add(n.SYS_dup3, -1, REPORT, os.O_CLOEXEC)
        self._calls.add(n.SYS_close_range, REPORT + 1, _LAST_DESCRIPTOR, 0)
        for descriptor in range(3):
            if self._pipes[descriptor] or terminal:
                self._calls.add(n.SYS_fchown, descriptor, identity.uid, -1)
        self._enter_directory(program.directory)
        self._calls.add(n.SYS_umask, program.umask)
        for number, soft, hard in program.limits:
            limit = struct.pack("=QQ", soft & 0xFFFFFFFFFFFFFFFF, hard & 0xFFFFFFFFFFFFFFFF)
            self._calls.add(n.SYS_prlimit64, 0, number, limit, 0)
        self._set_identity(program)
        self._calls.be_born()
        self._calls.add(n.SYS_setsid)
        if terminal:
            self._calls.add(n.SYS_ioctl, 0, TIOCSCTTY, 0)
        if program.dies_with_monitor:
            self._prctl(p.PR_SET_PDEATHSIG, _SIGKILL)
        nothing = bytes(signals.MASK_BYTES)
        self._calls.add(n.SYS_rt_sigprocmask, 2, nothing, 0, signals.MASK_BYTES)
        self._execute(program)

    def is_for(self, identity: Identity, descriptors: Sequence[int], cgroup: Cgroup | None) -> bool:
        """Whether these calls are what is wanted now."""
        return identity is self._identity and cgroup is self._cgroup and _pipes(descriptors) == self._pipes

    def spawn(self, descriptors: Sequence[int], pidfd: int, birth: births.Birth) -> Launched:
        """Make the calls in a child; raises OSError."""
        self._calls.change(self._setns, 0, pidfd)
        for place, descriptor in zip(self._stdio, descriptors, strict=True):
            self._calls.change(place, 0, descriptor)
        first, channel = self._begin()
        try:
            pid, held = births.wait(first, channel, lambda: self._hear(channel), self._calls.born, birth)
        finally:
            os.close(channel)
        return Launched(pid, held, None, [])

    def _begin(self) -> tuple[int, int]:
        """The first process, and where the last one reports to."""
        birthplace = self._cgroup.birthplace() if self._cgroup is not None else ""
        group = os.open(birthplace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if birthplace else -1
        reader, writer = -1, -1
        with forking:
            mask = signals.block_all()
            try:
                reader, low = os.pipe2(os.O_CLOEXEC)
                writer = files.dup_above(low, REPORT + 1)
                os.close(low)
                self._calls.change(self._report, 0, writer)
                return self._calls.begin(group), reader
            except BaseException:
                if reader >= 0:
                    os.close(reader)
                raise
            finally:
                signals.set_mask(mask)
                for descriptor in (group, writer):
                    if descriptor >= 0:
                        os.close(descriptor)

    def _hear(self, channel: int) -> bool:
        data = os.read(channel, 16)
        if data:
            raise self._calls.read_report(data)
        return False

    def _prepare(self, program: Program) -> None:
        """What is done while the host's files are there."""
        self._calls.leave_memory()
        for number in signals.changed():
            self._calls.add(n.SYS_rt_sigaction, number, signals.SIGACTION, 0, signals.MASK_BYTES)
        for path, text in modules.labels(program.process):
            self._write(path, text)
        for path in self._cgroup.entrances() if self._cgroup is not None else ():
            self._write(path, "0")
        if program.oom_score is not None:
            self._write(oom.FILE, str(program.oom_score))
        join = n.SYS_keyctl, p.KEYCTL_JOIN_SESSION_KEYRING, b"_ses.exec"
        if not program.process.get("callersKeyring"):
            self._calls.add(*join, tolerated=tolerate(_ENOSYS))

    def _write(self, path: str, text: str) -> None:
        data = text.encode()
        self._calls.add(n.SYS_openat, _HERE, os.fsencode(path), os.O_WRONLY | os.O_CLOEXEC, save=True)
        self._calls.add(n.SYS_write, 0, data, len(data), use=True)
        self._calls.add(n.SYS_close, 0, use=True)

    def _enter_directory(self, path: str) -> None:
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        how = struct.pack("=QQQ", flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
        name = os.fsencode(path).lstrip(b"/") or b"."
        self._calls.add(n.SYS_openat2, _HERE, name, how, len(how), save=True)
        self._calls.add(n.SYS_fchdir, 0, use=True)
        self._calls.add(n.SYS_close, 0, use=True)
        self._calls.add(n.SYS_getcwd, bytes(4096), 4096, absolute=True)

    def _set_identity(self, program: Program) -> None:
        """As `hardening._set_identity`, and in its order."""
        wanted, available, identity = program.capabilities, program.available, self._identity
        self._prctl(p.PR_SET_KEEPCAPS, 1)
        for number in capabilities.outside_of(wanted.bounding & available):
            self._prctl(p.PR_CAPBSET_DROP, number)
        groups = struct.pack(f"={len(identity.groups)}I", *identity.groups)
        self._calls.add(n.SYS_setgroups, len(identity.groups), groups)
        self._calls.add(n.SYS_setresgid, *[identity.gid] * 3)
        self._calls.add(n.SYS_setresuid, *[identity.uid] * 3)
        if not program.no_new_privileges and program.filter is not None:
            self._calls.add(n.SYS_capset, *p.capset_arguments(available, available, 0))
            self._install_filter(program)
        permitted = wanted.permitted & available
        final = wanted.effective & permitted, permitted, wanted.inheritable & permitted
        self._calls.add(n.SYS_capset, *p.capset_arguments(*final))
        self._prctl(p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_CLEAR_ALL)
        for number in capabilities.members(wanted.ambient & permitted & wanted.inheritable):
            self._prctl(p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_RAISE, number)
        self._prctl(p.PR_SET_KEEPCAPS, 0)
        if program.no_new_privileges:
            self._prctl(p.PR_SET_NO_NEW_PRIVS, 1)
            self._install_filter(program)

    def _install_filter(self, program: Program) -> None:
        if program.filter is not None:
            code = program.filter.program
            header = struct.pack("@HP", len(code) // 8, self._calls.pointer(code))
            self._calls.add(n.SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, header)

    def _prctl(self, *arguments: int) -> None:
        self._calls.add(n.SYS_prctl, *arguments)

    def _execute(self, program: Program) -> None:
        environment = dict(program.environment)
        if not environment.get(b"HOME"):
            environment[b"HOME"] = os.fsencode(self._identity.home)
        arguments = self._calls.pointers(program.arguments)
        variables = self._calls.pointers([key + b"=" + value for key, value in environment.items()])
        searched = b"/" not in program.arguments[0]
        missing = tolerate(_ENOENT, _EACCES, _ENOTDIR) if searched else 0
        for path in program.candidates:
            self._calls.add(n.SYS_execve, path, arguments, variables, tolerated=missing)


def _pipes(descriptors: Sequence[int]) -> list[bool]:
    """Which of the descriptors are pipes, that are to belong to the user."""
    return [stat.S_ISFIFO(os.fstat(descriptor).st_mode) for descriptor in descriptors]
