"""The last steps of every process that is put into a container, the same for process 1, exec and probes.

In this order, and why: descriptors are closed before the working directory is chosen (CVE-2024-21626), which
is resolved without magic links and checked by getcwd; the user is set while capabilities are kept, because
the seccomp filter can only be installed with CAP_SYS_ADMIN unless no_new_privs is on; the filter is the last
thing before the final capability sets, and execve is the last call of all.
"""

from __future__ import annotations

import os
import resource
import stat

from compose.linux import files
from compose.linux.beneath import open_in_root
from compose.linux.cradle import CLONE_PARENT, CLONE_PARENT_SETTID, SIGCHLD
from compose.linux.numbers import SYS_clone, SYS_exit_group, SYS_ioctl, SYS_setsid, SYS_write
from compose.linux.process import (
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    capset,
    join_session_keyring,
    prctl,
)
from compose.linux.seccomp import Filter
from compose.linux.signals import set_mask
from compose.linux.terminal import TIOCSCTTY, set_controlling_terminal, set_window_size
from compose.runtime import oom
from compose.runtime.container import capabilities, steps
from compose.runtime.container.steps import Failure, LaunchError
from compose.runtime.spec import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

    from compose.linux.cradle import Cradle
    from compose.runtime.container.gate import Gate
    from compose.runtime.container.hooks import Hooks
    from compose.runtime.container.steps import Progress
    from compose.runtime.container.users import Identity
    from compose.runtime.spec import Process

ON_JOINED: Callable[[], None] | None = None
"""Called in the child once it is inside the container's root; tests install an audit hook here."""

_SIGKILL = 9
_ENOENT, _EAGAIN, _EACCES, _ENOTDIR = 2, 11, 13, 20
_HERE = -100  # AT_FDCWD: the working directory
_REPORT = 3  # the descriptor of the report socket from `_arrange_descriptors` on
_INIT = 4  # that of the init
_LOCKS = 10  # RLIMIT_LOCKS, which Python does not know
INIT_NAME = b"pycompose-init"
"""What /proc/1/cmdline begins with where there is an init."""


class Program:
    """What a process will be, computed and encoded before the fork."""

    def __init__(self, process: Process, seccomp: str | bytes) -> None:
        """`seccomp` is a compiled program or the path of one; empty: none."""
        self.process = process
        self.arguments = [os.fsencode(argument) for argument in process["args"]]
        self.environment = _environment(process.get("env") or ())
        self.directory = process.get("cwd") or "/"
        self.dies_with_monitor = bool(process.get("diesWithMonitor"))
        self.no_new_privileges = bool(process.get("noNewPrivileges"))
        self.oom_score = process.get("oomScoreAdj", oom.original())
        self.limits = [_limit(entry) for entry in process.get("rlimits") or ()]
        self.capabilities = capabilities.sets(process.get("capabilities") or {})
        self.available = capabilities.available()
        self.filter = _filter(seccomp)
        self.candidates = _candidates(self.arguments, self.environment)
        self.init = -1
        """A descriptor of what is executed in the place of the program, and executes that as its child."""
        self.umask = int((process.get("user") or {}).get("umask", 0o022))
        self.preserved = int(process.get("preservedDescriptors", 0))

    def items(self) -> dict[int, Sequence[str]]:
        """The names that messages about this process need."""
        user = self.process.get("user") or {}
        name = user.get("username") or str(user.get("uid", 0))
        limits = [
            entry["type"].removeprefix("RLIMIT_").lower() for entry in self.process.get("rlimits") or ()
        ]
        return {
            steps.USER: [name],
            steps.GROUP_ADD: list(user.get("additionalGroups") or ()),
            steps.CONFINE: [self.process.get("apparmorProfile") or self.process.get("selinuxLabel") or ""],
            steps.RLIMIT: limits,
            steps.WORKING_DIRECTORY: [self.directory],
            steps.EXEC: [self.process["args"][0] if self.process["args"] else ""],
        }

    def may_go_on(self) -> bool:
        """Whether the process may go on as another one when its seccomp filter has been installed."""
        if self.filter is None:
            return True
        needed = [
            (SYS_clone, CLONE_PARENT | CLONE_PARENT_SETTID | SIGCHLD),
            (SYS_exit_group, 0),
            (SYS_setsid,),
            (SYS_write, _REPORT),
            (SYS_ioctl, 0, TIOCSCTTY),
        ]
        return all(self.filter.allows(*call) for call in needed)

    def may_be_born_first(self, error: LaunchError) -> bool:
        """Whether the process may be born into the container before it is no more than that, because going on
        as another one needs room for two and there is room for one (``pids_limit``): not where it could be
        traced."""
        bounding = (self.process.get("capabilities") or {}).get("bounding", ())
        return (error.step, error.number) == (steps.FORK, _EAGAIN) and "CAP_SYS_PTRACE" not in bounding

    def resize(self, terminal: int) -> None:
        """Give the terminal the size that the configuration asks for, if it does."""
        size = self.process.get("consoleSize")
        if size:
            set_window_size(terminal, size["height"], size["width"])

    def arrange_descriptors(
        self,
        stdio: tuple[int, int, int],
        identity: Identity,
        progress: Progress,
        *,
        terminal: bool,
        gate: Gate | None = None,
    ) -> None:
        """0 to 2 are the container's, as many more as the caller passes on, then the report socket, the init
        or the gate's socket if there is one; and there is no other."""
        own = [progress.channel, *([self.init] if self.init >= 0 else [])]
        own += [gate.fileno()] if gate is not None else []
        first = _REPORT + self.preserved
        targets = [0, 1, 2, *range(first, first + len(own))]
        high = [files.dup_above(descriptor, first + len(own)) for descriptor in (*stdio, *own)]
        for target, descriptor in zip(targets, high, strict=True):
            reported_by_init = target == first and self.init >= 0
            os.dup2(descriptor, target, inheritable=target < first or reported_by_init)
        progress.channel = first
        if gate is not None:
            gate.move(first + 1)
        files.close_range(first + len(own))
        for descriptor in range(_REPORT, first):
            os.set_inheritable(descriptor, True)
        for descriptor in range(3):
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISFIFO(mode) or terminal:
                os.chown(descriptor, identity.uid, -1)


def join_keyring(name: str, progress: Progress) -> None:
    """Take a session keyring of one's own; where the host allows none that is a warning."""
    progress.at(steps.KEYRING)
    try:
        join_session_keyring(name)
    except OSError as error:
        progress.warn(steps.KEYRING, error.errno or 0)


def become(
    program: Program,
    identity: Identity,
    stdio: tuple[int, int, int],
    progress: Progress,
    *,
    terminal: bool,
    gate: Gate | None = None,
    hooks: Hooks | None = None,
    cradle: Cradle | None = None,
) -> NoReturn:
    """Turn the calling process, which is inside the container's root already, into the program.

    With a `cradle` it goes on as another process when it has no more rights than that. With a `gate` it waits
    there when everything is done that needs none of the program's own limits; then those of its `hooks` are
    run that run inside.
    """
    if ON_JOINED is not None:
        ON_JOINED()
    if b"HOME" not in program.environment or not program.environment[b"HOME"]:
        program.environment[b"HOME"] = os.fsencode(identity.home)
    progress.at(steps.DESCRIPTORS)
    program.arrange_descriptors(stdio, identity, progress, terminal=terminal, gate=gate)
    _enter_directory(program.directory, progress)
    os.umask(program.umask)
    if terminal and cradle is None:
        set_controlling_terminal(0)
    if gate is not None:
        progress.at(steps.EXEC)
        _executable(program)  # who creates hears of it, not who starts
        gate.wait(progress)
    if hooks is not None:
        hooks.run_last(progress, lambda: _set_identity(program, identity, progress))
    set_limits(program.limits, progress)  # not earlier: few descriptors may be too few for us
    _set_identity(program, identity, progress)
    if cradle is not None:
        progress.at(steps.FORK)
        cradle.be_born()
        os.setsid()
        if terminal:
            set_controlling_terminal(0)
    if program.dies_with_monitor:  # not earlier: a change of the user takes it back
        prctl(PR_SET_PDEATHSIG, _SIGKILL)
    set_mask()
    progress.at(steps.EXEC)
    if program.init >= 0:
        _execute_init(program, progress)
    _execute(program)


def set_limits(limits: Sequence[tuple[int, int, int]], progress: Progress) -> None:
    """Set resource limits (number, soft, hard); where the host gives less, what it gives, with a warning."""
    for index, (number, soft, hard) in enumerate(limits):
        progress.at(steps.RLIMIT, index)
        try:
            resource.setrlimit(number, (soft, hard))
        except ValueError:  # Python's word for EPERM: raising a hard limit, or soft above hard
            most = resource.getrlimit(number)[1]
            if hard != -1 and (soft == -1 or soft > hard):
                raise Failure(steps.RLIMIT, 22, index) from None
            resource.setrlimit(number, (_least(soft, most), _least(hard, most)))
            progress.warn(steps.RLIMIT, steps.NOT_GIVEN, index)


def _least(first: int, second: int) -> int:
    """The smaller of two limits; -1 is none."""
    return max(first, second) if -1 in (first, second) else min(first, second)


def _enter_directory(path: str, progress: Progress) -> None:
    progress.at(steps.WORKING_DIRECTORY)
    directory = open_in_root(_HERE, path, os.O_PATH | os.O_DIRECTORY)
    os.fchdir(directory)
    os.close(directory)
    try:
        if not os.getcwdb().startswith(b"/"):
            raise Failure(steps.WORKING_DIRECTORY, steps.OUTSIDE)
    except FileNotFoundError:
        raise Failure(steps.WORKING_DIRECTORY, steps.OUTSIDE) from None


def _set_identity(program: Program, identity: Identity, progress: Progress) -> None:
    wanted = program.capabilities
    available = program.available
    progress.at(steps.CAPABILITIES)
    prctl(PR_SET_KEEPCAPS, 1)
    capabilities.limit_bounding_set(wanted.bounding & available)
    progress.at(steps.GROUPS)
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    if program.filter is not None and not program.no_new_privileges:
        progress.at(steps.SECCOMP)
        capset(available, available, 0)
        program.filter.install()
    progress.at(steps.CAPABILITIES)
    permitted = wanted.permitted & available
    capset(wanted.effective & permitted, permitted, wanted.inheritable & permitted)
    capabilities.set_ambient(wanted.ambient & permitted & wanted.inheritable)
    prctl(PR_SET_KEEPCAPS, 0)
    if program.no_new_privileges:
        progress.at(steps.SECCOMP)
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if program.filter is not None:
            program.filter.install()


def _execute(program: Program) -> NoReturn:
    """execve the first candidate that there is, as execvp does but without its imports."""
    refused = 0
    for path in program.candidates:
        try:
            os.execve(path, program.arguments, program.environment)
        except OSError as error:
            if error.errno == _EACCES:
                refused = _EACCES
            elif error.errno not in (_ENOENT, _ENOTDIR) or b"/" in program.arguments[0]:
                raise
    raise Failure(steps.EXEC, refused or steps.NO_EXECUTABLE)


def _execute_init(program: Program, progress: Progress) -> NoReturn:
    """Execute the init, which executes the first candidate that looks like a program."""
    path = _executable(program)
    progress.at(steps.INIT)
    os.execve(_INIT, [INIT_NAME, path, *program.arguments], program.environment)


def _executable(program: Program) -> bytes:
    refused = 0
    for path in program.candidates:
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            if error.errno not in (_EACCES, _ENOENT, _ENOTDIR) or b"/" in program.arguments[0]:
                raise
            continue
        if stat.S_ISREG(mode) and mode & 0o111:
            return path
        refused = _EACCES
    raise Failure(steps.EXEC, refused or steps.NO_EXECUTABLE)


def _candidates(arguments: Sequence[bytes], environment: dict[bytes, bytes]) -> list[bytes]:
    if not arguments or not arguments[0]:
        return []
    if b"/" in arguments[0]:
        return [arguments[0]]
    path = environment.get(b"PATH", os.fsencode(DEFAULT_PATH))
    return [directory + b"/" + arguments[0] for directory in path.split(b":") if directory.startswith(b"/")]


def _environment(entries: Sequence[str]) -> dict[bytes, bytes]:
    found = {}
    for entry in entries:
        key, equals, value = os.fsencode(entry).partition(b"=")
        if key and equals:
            found[key] = value
    return found


def _limit(entry: dict[str, object]) -> tuple[int, int, int]:
    name = str(entry["type"])
    number = _LOCKS if name == "RLIMIT_LOCKS" else getattr(resource, name, None)
    if not isinstance(number, int):
        raise LaunchError(steps.RLIMIT, 22, f"set limit {entry['type']}: this system does not know it")
    return number, _bound(entry["soft"]), _bound(entry["hard"])


def _bound(value: object) -> int:
    number = int(str(value))
    return -1 if number >= 2**63 or number < 0 else number


def _filter(seccomp: str | bytes) -> Filter | None:
    if not seccomp:
        return None
    if isinstance(seccomp, bytes):
        return Filter(seccomp)
    try:
        with open(seccomp, "rb") as file:
            return Filter(file.read())
    except OSError as error:
        text = f"read the seccomp program {seccomp}: {os.strerror(error.errno or 0)}"
        raise LaunchError(steps.SECCOMP, error.errno or 0, text) from None
