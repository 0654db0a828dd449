"""The way into a container for whatever enters it: a health probe, an exec.

What is to be done is found out beforehand, and written down as the system calls that come of it
(linux/vfork.py), in the order of `hardening.become`. A process of ours makes them outside of the container's
pid namespace, with nothing in its memory but that list; in there is born what executes the program, when it
has no more rights than that is to have and no descriptors but its own (birth.py). So it does not matter who
may trace it: nothing can be got from it that the container has not. It takes half of what a fork takes.

    entrance.py    for one process
    nursery.py     for those that are born again and again
"""

from __future__ import annotations

import os
import struct

from compose.linux import numbers as n
from compose.linux import process as p
from compose.linux import signals
from compose.linux.beneath import RESOLVE_NO_MAGICLINKS
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
from compose.linux.vfork import Calls, tolerate
from compose.runtime import oom
from compose.runtime.container import capabilities, modules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.container.hardening import Program
    from compose.runtime.container.users import Identity

JOINED = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP
"""What whoever enters a container joins by setns; into the pid namespace its children are born."""

_ENOENT, _EACCES, _ENOTDIR, _ENOSYS = 2, 13, 20, 38
_SIGKILL = 9
_HERE = -100  # AT_FDCWD
_LAST_DESCRIPTOR = 0xFFFFFFFF


class Way:
    """The calls for one program, one user and one control group, added step by step in this order."""

    __slots__ = ("_cgroup", "_identity", "_program", "_terminal", "calls")

    def __init__(self, program: Program, identity: Identity, cgroup: Cgroup | None) -> None:
        self._program = program
        self._identity = identity
        self._cgroup = cgroup
        self._terminal = bool(program.process.get("terminal"))
        self.calls = Calls()

    def begin(self) -> int:
        """Let somebody go it; his process id, or 0 when he was killed at once. `forking` must be held. Raises
        OSError."""
        birthplace = self._cgroup.birthplace() if self._cgroup is not None else ""
        group = os.open(birthplace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if birthplace else -1
        mask = signals.block_all()
        try:
            return self.calls.begin(group)
        finally:
            signals.set_mask(mask)
            if group >= 0:
                os.close(group)

    def prepare(self) -> None:
        """What is done while the host's files are there."""
        program, calls = self._program, self.calls
        calls.leave_memory()
        for number in signals.changed():
            calls.add(n.SYS_rt_sigaction, number, signals.SIGACTION, 0, signals.MASK_BYTES)
        for path, text in modules.labels(program.process):
            self._write(path, text)
        for path in self._cgroup.entrances() if self._cgroup is not None else ():
            self._write(path, "0")
        if program.oom_score is not None:
            self._write(oom.FILE, str(program.oom_score))
        join = n.SYS_keyctl, p.KEYCTL_JOIN_SESSION_KEYRING, b"_ses.exec"
        if not program.process.get("callersKeyring"):
            calls.add(*join, tolerated=tolerate(_ENOSYS))

    def join(self, pidfd: int) -> None:
        """Enter the namespaces of a process; into its pid namespace only who is born from there on."""
        self.calls.add(n.SYS_setns, pidfd, JOINED | CLONE_NEWPID)

    def close(self, first: int, last: int = _LAST_DESCRIPTOR) -> None:
        """Close the descriptors from `first` to `last`."""
        self.calls.add(n.SYS_close_range, first, last, 0)

    def enter_directory(self) -> None:
        """Make the program's directory the working directory, as a process does whose root is the
        container's."""
        calls = self.calls
        how = struct.pack("=QQQ", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS)
        calls.add(n.SYS_openat2, _HERE, b"/" + os.fsencode(self._program.directory), how, len(how), save=True)
        calls.add(n.SYS_fchdir, 0, use=True)
        calls.add(n.SYS_close, 0, use=True)
        calls.add(n.SYS_getcwd, bytes(4096), 4096, absolute=True)

    def set_limits(self) -> None:
        """The mask of new files, and resource limits."""
        self.calls.add(n.SYS_umask, self._program.umask)
        for number, soft, hard in self._program.limits:
            limit = struct.pack("=QQ", soft & 0xFFFFFFFFFFFFFFFF, hard & 0xFFFFFFFFFFFFFFFF)
            self.calls.add(n.SYS_prlimit64, 0, number, limit, 0)

    def set_identity(self) -> None:
        """As `hardening._set_identity`, and in its order."""
        program, calls, identity = self._program, self.calls, self._identity
        wanted, available = program.capabilities, program.available
        self._prctl(p.PR_SET_KEEPCAPS, 1)
        for number in capabilities.outside_of(wanted.bounding & available):
            self._prctl(p.PR_CAPBSET_DROP, number)
        groups = struct.pack(f"={len(identity.groups)}I", *identity.groups)
        calls.add(n.SYS_setgroups, len(identity.groups), groups)
        calls.add(n.SYS_setresgid, *[identity.gid] * 3)
        calls.add(n.SYS_setresuid, *[identity.uid] * 3)
        if not program.no_new_privileges and program.filter is not None:
            calls.add(n.SYS_capset, *p.capset_arguments(available, available, 0))
            self._install_filter()
        permitted = wanted.permitted & available
        final = wanted.effective & permitted, permitted, wanted.inheritable & permitted
        calls.add(n.SYS_capset, *p.capset_arguments(*final))
        self._prctl(p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_CLEAR_ALL)
        for number in capabilities.members(wanted.ambient & permitted & wanted.inheritable):
            self._prctl(p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_RAISE, number)
        self._prctl(p.PR_SET_KEEPCAPS, 0)
        self._prctl(p.PR_SET_DUMPABLE, 0)  # a change of the user may have set it
        if program.no_new_privileges:
            self._prctl(p.PR_SET_NO_NEW_PRIVS, 1)
            self._install_filter()

    def execute(self) -> None:
        """What is left to be done by the process that has been born: become the program."""
        program, calls = self._program, self.calls
        calls.add(n.SYS_setsid)
        if self._terminal:
            calls.add(n.SYS_ioctl, 0, TIOCSCTTY, 0)
        if program.dies_with_monitor:
            self._prctl(p.PR_SET_PDEATHSIG, _SIGKILL)
        calls.add(n.SYS_rt_sigprocmask, 2, bytes(signals.MASK_BYTES), 0, signals.MASK_BYTES)
        environment = dict(program.environment)
        if not environment.get(b"HOME"):
            environment[b"HOME"] = os.fsencode(self._identity.home)
        arguments = calls.pointers(program.arguments)
        variables = calls.pointers([key + b"=" + value for key, value in environment.items()])
        searched = b"/" not in program.arguments[0]
        missing = tolerate(_ENOENT, _EACCES, _ENOTDIR) if searched else 0
        for path in program.candidates:
            calls.add(n.SYS_execve, path, arguments, variables, tolerated=missing)

    def _write(self, path: str, text: str) -> None:
        data = text.encode()
        self.calls.add(n.SYS_openat, _HERE, os.fsencode(path), os.O_WRONLY | os.O_CLOEXEC, save=True)
        self.calls.add(n.SYS_write, 0, data, len(data), use=True)
        self.calls.add(n.SYS_close, 0, use=True)

    def _install_filter(self) -> None:
        if self._program.filter is not None:
            code = self._program.filter.program
            header = struct.pack("@HP", len(code) // 8, self.calls.pointer(code))
            self.calls.add(n.SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, header)

    def _prctl(self, *arguments: int) -> None:
        self.calls.add(n.SYS_prctl, *arguments)
