"""The way into a container for what is started there again and again, a health probe, without a fork.

`enter` forks this interpreter and runs `hardening.become` in it: 3 ms of processor time. The second time
everything that this finds out is known, so that it can be written down as the system calls that come of it
(linux/vfork.py), in the same order. Whatever does not go as written down is left to `enter`, which does the
same and can say what is wrong.
"""

from __future__ import annotations

import os
import stat
import struct

from compose.linux import numbers as n
from compose.linux import process as p
from compose.linux import signals
from compose.linux.beneath import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
from compose.linux.namespaces import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWUTS
from compose.linux.seccomp import SECCOMP_SET_MODE_FILTER
from compose.linux.vfork import ANY_ERROR, Calls, tolerate
from compose.runtime import oom
from compose.runtime.container import capabilities, modules, users
from compose.runtime.container.birth import Birth
from compose.runtime.container.hardening import Program
from compose.runtime.container.launch import Launched
from compose.runtime.container.steps import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.container.launch import Stdio
    from compose.runtime.container.users import Identity
    from compose.runtime.spec import Process

JOINED = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP
"""What whoever enters a container joins by setns; into the pid namespace its children are born."""

_ENOENT, _EACCES, _ENOTDIR = 2, 13, 20
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
        birth: Birth | None = None,
    ) -> Launched | None:
        """Start the program once more; None: it did not go as written down, and nothing has been started."""
        if identity is None or self._failures >= _MOST_FAILURES or not self._can_be_written_down(stdio):
            return None
        try:
            if self._calls is None or not self._calls.is_for(identity, stdio, cgroup):
                self._calls = _Written(self.program, identity, stdio, cgroup)
            return self._calls.spawn(stdio, pidfd, birth or Birth())
        except OSError:
            self._failures += 1
            return None

    def _can_be_written_down(self, stdio: Stdio) -> bool:
        """What probes are: without a terminal, and with descriptors that no new place overwrites.

        Where the container may trace processes, the child's memory must not be the monitor's.
        """
        program = self.program
        if "CAP_SYS_PTRACE" in (program.process.get("capabilities") or {}).get("bounding", ()):
            return False
        if program.preserved or program.init >= 0 or program.process.get("terminal"):
            return False
        return min(stdio.stdin, stdio.stdout, stdio.stderr) > 2


class _Written:
    """The calls for one user, one control group and one kind of descriptors."""

    def __init__(self, program: Program, identity: Identity, stdio: Stdio, cgroup: Cgroup | None) -> None:
        self._identity = identity
        self._cgroup = cgroup
        self._pipes = _pipes(stdio)
        self._calls = Calls()
        self._prepare(program)
        self._setns = self._calls.add(n.SYS_setns, -1, JOINED)
        self._stdio = [self._calls.add(n.SYS_dup3, -1, target, 0) for target in range(3)]
        self._calls.add(n.SYS_close_range, 3, _LAST_DESCRIPTOR, 0)
        for descriptor in range(3):
            if self._pipes[descriptor]:
                self._calls.add(n.SYS_fchown, descriptor, identity.uid, -1)
        self._enter_directory(program.directory)
        self._calls.add(n.SYS_umask, program.umask)
        for number, soft, hard in program.limits:
            limit = struct.pack("=QQ", soft & 0xFFFFFFFFFFFFFFFF, hard & 0xFFFFFFFFFFFFFFFF)
            self._calls.add(n.SYS_prlimit64, 0, number, limit, 0)
        self._set_identity(program)
        if program.dies_with_monitor:
            self._prctl(p.PR_SET_PDEATHSIG, _SIGKILL)
        nothing = bytes(signals.MASK_BYTES)
        self._calls.add(n.SYS_rt_sigprocmask, 2, nothing, 0, signals.MASK_BYTES)
        self._execute(program)

    def is_for(self, identity: Identity, stdio: Stdio, cgroup: Cgroup | None) -> bool:
        """Whether these calls are what is wanted now."""
        return identity is self._identity and cgroup is self._cgroup and _pipes(stdio) == self._pipes

    def spawn(self, stdio: Stdio, pidfd: int, birth: Birth) -> Launched:
        """Make the calls in a child; raises OSError."""
        self._calls.change(self._setns, 0, pidfd)
        for place, descriptor in zip(self._stdio, (stdio.stdin, stdio.stdout, stdio.stderr), strict=True):
            self._calls.change(place, 0, descriptor)
        birthplace = self._cgroup.birthplace() if self._cgroup is not None else ""
        group = os.open(birthplace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if birthplace else -1
        mask = signals.block_all()
        birth.pidfd = self._calls.pidfd
        try:
            return Launched(*self._calls.spawn(group), None, [])
        finally:
            signals.set_mask(mask)
            if group >= 0:
                os.close(group)

    def _prepare(self, program: Program) -> None:
        """What is done while the host's files are there."""
        for number in signals.changed():
            self._calls.add(n.SYS_rt_sigaction, number, signals.SIGACTION, 0, signals.MASK_BYTES)
        self._calls.add(n.SYS_setsid)
        for path, text in modules.labels(program.process):
            self._write(path, text)
        for path in self._cgroup.entrances() if self._cgroup is not None else ():
            self._write(path, "0")
        if program.oom_score is not None:
            self._write(oom.FILE, str(program.oom_score))
        join = n.SYS_keyctl, p.KEYCTL_JOIN_SESSION_KEYRING, b"_ses.exec"
        self._calls.add(*join, tolerated=ANY_ERROR)

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
            self._calls.add(n.SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program.filter.header)

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


def _pipes(stdio: Stdio) -> tuple[bool, bool, bool]:
    """Which of the descriptors are pipes, that are to belong to the user."""
    out = stat.S_ISFIFO(os.fstat(stdio.stdout).st_mode)
    error = out if stdio.stderr == stdio.stdout else stat.S_ISFIFO(os.fstat(stdio.stderr).st_mode)
    return stat.S_ISFIFO(os.fstat(stdio.stdin).st_mode), out, error
