"""Entering a running container: exec, health probes, terminals.

The container's init is hostile by now. What has to be known (user, groups) is read through descriptors of its
root before joining; then one setns on its pidfd joins everything at once, so that no path below /proc is
trusted for it, and `hardening.become` does the rest as for process 1.
"""

from __future__ import annotations

import os

from compose.linux import files
from compose.linux.cradle import Cradle
from compose.linux.namespaces import CLONE_NEWPID, reset_pid_namespace, setns
from compose.linux.process import PR_SET_DUMPABLE, pidfd_open, prctl
from compose.runtime import oom
from compose.runtime.container import entrance, modules, steps, terminals, users
from compose.runtime.container.birth import end
from compose.runtime.container.child import Launched, Stdio, fork_and_wait
from compose.runtime.container.hardening import Program, become, join_keyring
from compose.runtime.container.steps import LaunchError
from compose.runtime.container.way import JOINED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from compose.runtime.cgroups.common import Cgroup
    from compose.runtime.container.birth import Birth
    from compose.runtime.container.steps import Progress
    from compose.runtime.spec import Process


def enter(
    pid: int,
    process: Process,
    stdio: Stdio,
    *,
    pidfd: int | None = None,
    cgroup: Cgroup | None = None,
    seccomp: str | bytes = "",
    birth: Birth | None = None,
) -> Launched:
    """Start `process` in the container whose process 1 is `pid`; returns when it has called execve.

    Pass `pidfd` wherever there is one: then nothing can happen to a process that got the number of a dead
    one. `seccomp` is a compiled program or its path, as in the container's spec. What is in there can stop
    the process on its way, so that only somebody who has its `birth` ends the waiting. With
    ``process["terminal"]`` the result has a `master` from the container's own devpts, and `stdio` is not
    used. Afterwards the calling thread's children are not born in the container. Raises LaunchError.
    """
    program = Program(process, seccomp)
    own = pidfd is None
    held = _open_pid(pid) if pidfd is None else pidfd
    root = -1
    try:
        root = open_root(pid, held)
        reset_pid_namespace()
        entry = _Entry(program, stdio, cgroup, held, root)
        entry.identity = _identity_in(root, process)
        launched = entrance.spawn(program, entry.identity, stdio, cgroup, held, root, birth)
        if launched is not None:
            return launched
        terminal = bool(process.get("terminal"))
        if program.may_go_on():
            entry.cradle = Cradle()
            try:
                return fork_and_wait(
                    entry.run, program.items(), birth, cradle=entry.cradle, terminal=terminal
                )
            except LaunchError as error:
                if not program.may_be_born_first(error):
                    raise
            entry.cradle = None
        return _born_first(entry, birth, terminal=terminal)
    finally:
        if root != -1:
            os.close(root)
        if own:
            os.close(held)


def _born_first(entry: _Entry, birth: Birth | None, *, terminal: bool) -> Launched:
    """Have it born in the container's pid namespace before it does anything. Raises LaunchError, and OSError
    when our later children could not be born outside again: then it is ended."""
    setns(entry.pidfd, CLONE_NEWPID)
    launched = None
    try:
        launched = fork_and_wait(entry.run, entry.program.items(), birth, terminal=terminal)
    finally:
        try:
            reset_pid_namespace()
        except OSError:
            if launched is not None:
                end(launched.pid, launched.pidfd)
                if launched.master is not None:
                    os.close(launched.master)
            raise
    return launched


def _identity_in(root: int, process: Process) -> users.Identity | None:
    """Whom the user means; None: the child is to look, and to say what is wrong."""
    try:
        return users.resolve(process.get("user") or {}, root)
    except (steps.Failure, OSError):
        return None


def open_root(pid: int, pidfd: int) -> int:
    """A descriptor of the root directory of the process; LaunchError when it has ended."""
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        raise _gone() from None
    if not _lives(pidfd):  # somebody else may have the number, and its root, by now
        os.close(root)
        raise _gone()
    return root


class _Entry:
    """What the child needs, opened before the fork."""

    __slots__ = ("cgroup", "cradle", "identity", "pidfd", "program", "root", "stdio")

    def __init__(self, program: Program, stdio: Stdio, cgroup: Cgroup | None, pidfd: int, root: int) -> None:
        self.program = program
        self.stdio = stdio
        self.cgroup = cgroup
        self.pidfd = pidfd
        self.root = root
        self.identity: users.Identity | None = None
        self.cradle: Cradle | None = None
        """Without it the child is born in the container, and is nobody else only when it executes."""

    def run(self, progress: Progress) -> NoReturn:
        """The child: everything is looked up first, then it joins, and nothing is looked up any more."""
        prctl(PR_SET_DUMPABLE, 0)
        if self.cradle is None:
            os.setsid()
        progress.at(steps.CONFINE)
        modules.confine(self.program.process)
        progress.at(steps.CGROUP)
        if self.cgroup is not None:
            self.cgroup.join()
        progress.at(steps.USER)
        identity = self.identity or users.resolve(self.program.process.get("user") or {}, self.root)
        stdio = (self.stdio.stdin, self.stdio.stdout, self.stdio.stderr)
        terminal = bool(self.program.process.get("terminal"))
        if terminal:
            progress.at(steps.TERMINAL)
            master, slave = terminals.open_inside(self.root)
            self.program.resize(slave)
            progress.give(master)
            stdio = (slave, slave, slave)
        if self.program.oom_score is not None:
            progress.at(steps.OOM_SCORE)
            oom.write(self.program.oom_score)
        if not self.program.process.get("callersKeyring"):
            join_keyring("_ses.exec", progress)
        progress.at(steps.GONE)
        setns(self.pidfd, JOINED if self.cradle is None else JOINED | CLONE_NEWPID)
        become(self.program, identity, stdio, progress, terminal=terminal, cradle=self.cradle)


def _open_pid(pid: int) -> int:
    try:
        return pidfd_open(pid)
    except OSError:
        raise _gone() from None


def _lives(pidfd: int) -> bool:
    """Whether the process has not ended: a pidfd is readable from then on, before it is reaped as well."""
    return not files.readable(pidfd)


def _gone() -> LaunchError:
    return LaunchError(steps.GONE, steps.NOT_RUNNING, steps.words(steps.GONE, steps.NOT_RUNNING, 0, ""))
