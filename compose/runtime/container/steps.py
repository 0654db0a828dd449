"""How a process that is being set up says what went wrong: numbers over a socket, words on our side.

The child may be inside the container's mount namespace, where nothing may be imported, looked up or printed
(it would come from the container's files), so that it sends four integers and the monitor makes the sentence.
A record with a negative step is a warning, after which the child goes on.
"""

from __future__ import annotations

import os
import struct

from compose.errors import ContainerError
from compose.linux import sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

RECORD = struct.Struct("=iiii")

(
    NOTHING,
    CGROUP,
    NAMESPACE,
    ROOT,
    LAYER,
    MOUNT_SOURCE,
    MOUNT,
    MOUNT_TARGET,
    DEVICE,
    CONSOLE,
    MASK,
    READ_ONLY,
    HOSTNAME,
    SYSCTL,
    RLIMIT,
    OOM_SCORE,
    USER,
    PIVOT,
    DESCRIPTORS,
    WORKING_DIRECTORY,
    KEYRING,
    GROUPS,
    CAPABILITIES,
    SECCOMP,
    EXEC,
    TERMINAL,
    FORK,
    UNSAFE_ROOT,
    GONE,
    HOOK,
    INIT,
    GROUP_ADD,
    CONFINE,
) = range(33)

_WORDS = {
    CGROUP: "join the control group",
    NAMESPACE: "enter namespace {item}",
    ROOT: "mount the root file system",
    LAYER: "open layer {item}",
    MOUNT_SOURCE: "open {item}",
    MOUNT: "mount {item}",
    MOUNT_TARGET: "make the mount point {item}",
    DEVICE: "make device {item}",
    CONSOLE: "make /dev/console",
    MASK: "mask {item}",
    READ_ONLY: "make {item} read-only",
    HOSTNAME: "set the host name {item}",
    SYSCTL: "set sysctl {item}",
    RLIMIT: "set limit {item}",
    OOM_SCORE: "set oom_score_adj",
    USER: "user {item}",
    PIVOT: "pivot_root",
    DESCRIPTORS: "set up the standard descriptors",
    WORKING_DIRECTORY: "working directory {item}",
    KEYRING: "make a session keyring",
    GROUPS: "set user and groups",
    CAPABILITIES: "set capabilities",
    SECCOMP: "install the seccomp filter",
    EXEC: "exec {item}",
    TERMINAL: "open a terminal",
    FORK: "fork",
    UNSAFE_ROOT: "{item} in the image",
    GONE: "enter the container",
    HOOK: "run the hook {item}",
    INIT: "execute the init",
    GROUP_ADD: "group_add {item}",
    CONFINE: "confine it by {item}",
}

READY = 1
"""With the step NOTHING: the child waits at its gate (gate.py)."""

# Reasons that are no errno of a call: numbers above every errno.
NOT_A_DIRECTORY_OF_THE_IMAGE = 10001
NO_SUCH_USER = 10002
NO_SUCH_GROUP = 10003
INVALID_ID = 10004
OUTSIDE = 10005
NO_EXECUTABLE = 10006
INTERNAL = 10007
NOT_RUNNING = 10008
FILE_AND_DIRECTORY = 10009
NOT_PROC = 10010
NOT_GIVEN = 10020
NO_PROC = 10021
LEADS_OUT = 10011
NOT_SHARED = 10012
HOOK_FAILED = 10013
HOOK_LATE = 10014
REPLACED = 10015

_REASONS = {
    NOT_A_DIRECTORY_OF_THE_IMAGE: "is not a directory but a link or a file; refused",
    NO_SUCH_USER: "no such user in the image's /etc/passwd",
    NO_SUCH_GROUP: "no such group in the image's /etc/group",
    INVALID_ID: "not a name, nor a number from 0 to 4294967294",
    OUTSIDE: "lies outside of the container",
    NO_EXECUTABLE: "executable file not found in $PATH",
    FILE_AND_DIRECTORY: "a file cannot be mounted on a directory, nor a directory on a file",
    NOT_PROC: "there is no proc file system at /proc",
    LEADS_OUT: "leads out of the volume or image",
    REPLACED: "a link that was not there before leads it out of a directory that a container can write to",
    NOT_SHARED: "lies on a mount of the host that is not shared, so no mounts come and go with it",
    HOOK_FAILED: "it failed; see the container's log",
    HOOK_LATE: "no end within its timeout",
    NO_PROC: "the container whose pid namespace is shared has not its own proc file system there",
    NOT_RUNNING: "it does not run any more",
    NOT_GIVEN: "this host gives less, and the most that it gives is set; see 'ulimit -Ha' and fs.nr_open",
}

_HINTS = {
    (RLIMIT, 1): "lower it: 'ulimit -H -a' shows the most that can be given here without CAP_SYS_RESOURCE",
    (MOUNT_SOURCE, REPLACED): "remove the link; or, if it is yours: pycompose up --force-recreate",
    (OOM_SCORE, 13): "raise it: without CAP_SYS_RESOURCE it cannot be lower than that of the shell you use",
}
"""What to do about an errno or reason of a step, where that can be said."""

NOT_FOUND = "not found"
PERMISSION = "permission"
OTHER = "other"


class LaunchError(ContainerError):
    """A process could not be put into its container.

    `step` and `number` say where and why (an errno, or one of this module's reasons). `reason` is "not found"
    (the command exits 127), "permission" (126), "other", or "" when there is no container any more.
    """

    def __init__(self, step: int, number: int, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint or _HINTS.get((step, number)))
        self.step = step
        self.number = number
        self.reason = "" if step == GONE else OTHER
        if step in (EXEC, WORKING_DIRECTORY):
            if number in (2, 20, NO_EXECUTABLE):  # ENOENT, ENOTDIR
                self.reason = NOT_FOUND if step == EXEC else OTHER
            elif number in (1, 8, 13, 21):  # EPERM, ENOEXEC, EACCES, EISDIR
                self.reason = PERMISSION


class Failure(Exception):  # noqa: N818 - a signal inside the child, never seen by a user
    """Raised in the child for a reason that is no errno."""

    def __init__(self, step: int, number: int, index: int = 0) -> None:
        super().__init__()
        self.step = step
        self.number = number
        self.index = index


class Progress:
    """Where the child is, so that any exception can be reported as numbers; lives in the child."""

    __slots__ = ("channel", "index", "step")

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.step = NOTHING
        self.index = 0

    def at(self, step: int, index: int = 0) -> None:
        """The next calls belong to `step`, done to the `index`-th of its items."""
        self.step = step
        self.index = index

    def warn(self, step: int, number: int, index: int = 0) -> None:
        """Report something that failed without being fatal."""
        os.write(self.channel, RECORD.pack(-step, number, index, 0))

    def give(self, descriptor: int) -> None:
        """Send the terminal's master to the parent, before anybody else can have us in his hands."""
        socket = sockets.adopt(self.channel)
        sockets.send(socket, RECORD.pack(NOTHING, 0, 0, 0), [descriptor])
        socket.detach()

    def fail(self, error: BaseException) -> None:
        """Report the exception that ends the child."""
        step, number, index, line = self.step, INTERNAL, self.index, 0
        if isinstance(error, Failure):
            step, number, index = error.step, error.number, error.index
        elif isinstance(error, OSError) and error.errno:
            number = error.errno
        trace = error.__traceback__
        while trace is not None:
            line, trace = trace.tb_lineno, trace.tb_next
        os.write(self.channel, RECORD.pack(step, number, index, line))


def words(step: int, number: int, line: int, item: str) -> str:
    """One line that says what failed on what and why."""
    action = _WORDS.get(step, "set up the process").replace("{item}", item)
    if number == INTERNAL:
        return f"{action}: internal error (line {line})"
    return f"{action}: {_REASONS.get(number) or os.strerror(number)}"


def item_of(items: dict[int, Sequence[str]], step: int, index: int) -> str:
    """The name of what `step` was working on, for `words`."""
    names = items.get(step, ())
    return names[index] if 0 <= index < len(names) else ""
