"""One fault at one system call of one kind of process, while a command works.

    faults.py '{"role": "keeper", "call": "mkdir", "number": 3, "error": "ENOSPC", ...}' COMMAND ...

is the parent and tracer (ptrace(2)) of the command, of everything that it starts, and of processes that were
there before. It counts the system calls of each role; when the wanted one comes, the process is killed before
it is made, or it is not made and fails. From then on nothing is traced any more. When the command has ended,
the tracer does too, which lets go of all others.

Why not strace: its ``inject`` counts for each process by itself and cannot be told which one is meant. Most
faults would hit the command long before its keeper is there, several at once, or nobody.

    command    the command itself, with its threads
    keeper     the project's keeper, or that of a build
    monitor    a container's monitor
    netd       names and published ports
    inside     what enters a container, until it has executed its program: process 1, probes, ``exec``
    other      what has no name yet or none at all: network set-up, a keeper that has just been forked
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import errno
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

ROLES = ("command", "keeper", "monitor", "netd", "inside", "other")

_CONT, _SYSCALL, _POKEUSER, _DETACH = 7, 24, 6, 17
_GETREGSET, _SETREGSET = 0x4204, 0x4205
_SEIZE, _INTERRUPT, _LISTEN, _GET_SYSCALL_INFO = 0x4206, 0x4207, 0x4208, 0x420E
_GETEVENTMSG = 0x4201
_SYSGOOD, _FORK, _VFORK, _CLONE, _EXEC = 1, 2, 4, 8, 16
_OPTIONS = _SYSGOOD | _FORK | _VFORK | _CLONE | _EXEC
_EVENT_EXEC, _EVENT_STOP = 4, 128
_ENTRY = 1
_WALL = 0x40000000
_NT_PRSTATUS, _NT_ARM_SYSTEM_CALL = 1, 0x404
_ORIG_RAX, _RAX = 15 * 8, 10 * 8
_GROUP_STOPS = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
_TEXT = 200
"""Bytes of a path that are shown."""

HERE = os.path.dirname(os.path.abspath(__file__))
MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}.get(os.uname().machine, os.uname().machine)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class Report(NamedTuple):
    """What a tracer says in the end."""

    status: int
    """The command's, as waitpid(2) has it."""
    fired: str
    """Which call of whom failed or was a process's last; empty: the fault did not come."""
    counts: dict[str, dict[str, int]]
    """How often each role made each call, until the fault."""


def numbers() -> dict[str, int]:
    """The numbers of the system calls of this machine, by name."""
    with open(f"{HERE}/../../schemas/syscalls.json", encoding="ascii") as file:
        found: dict[str, int] = json.load(file)[MACHINE]
    return found


class _SyscallInfo(ctypes.Structure):
    _fields_ = (
        ("op", ctypes.c_uint8),
        ("padding", ctypes.c_uint8 * 3),
        ("architecture", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_int64),
        ("arguments", ctypes.c_uint64 * 6),
    )


class _Registers(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _ptrace(request: int, pid: int, address: int, data: int) -> bool:
    """False when the process has gone."""
    if _libc.ptrace(request, pid, address, data) >= 0:
        return True
    number = ctypes.get_errno()
    if number == errno.ESRCH:
        return False
    raise OSError(number, f"ptrace {request:#x} of {pid}: {os.strerror(number)}")


class Tracer:
    """The parent of the command, and the tracer of all."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.role: str = wanted["role"]
        self.number: int = wanted["number"]
        self.errno: int = getattr(errno, wanted["error"]) if wanted["error"] else 0
        table = numbers()
        self.call = table.get(wanted["call"], -1)
        self.watched = {table[name]: name for name in wanted["watched"] if name in table}
        self.counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.command = 0
        self.fired = ""
        self.to_fail = 0
        """The thread whose call is about to fail."""
        self._renaming = {table["prctl"], table["execve"]}
        self._roles: dict[int, str] = {}

    def run(self, arguments: Sequence[str], attached: Sequence[int]) -> int:
        """Run the command to its end; its status."""
        for pid in attached:
            self._attach(pid)
        ready, go = os.pipe()
        self.command = os.fork()
        if self.command == 0:
            self._become(ready, go, arguments)
        os.close(ready)
        self._seize(self.command)
        os.write(go, b"g")
        os.close(go)
        while True:
            pid, status = os.waitpid(-1, _WALL)
            if pid == self.command and not os.WIFSTOPPED(status):
                return status
            if not os.WIFSTOPPED(status):
                self._roles.pop(pid, None)
            else:
                self._stopped(pid, os.WSTOPSIG(status), status >> 16)

    def _become(self, ready: int, go: int, arguments: Sequence[str]) -> NoReturn:
        try:
            os.close(go)
            os.read(ready, 1)
            os.execv(arguments[0], list(arguments))
        finally:
            os._exit(127)

    def _attach(self, pid: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                self._seize(int(thread))

    def _seize(self, pid: int) -> None:
        if _ptrace(_SEIZE, pid, 0, _OPTIONS):
            _ptrace(_INTERRUPT, pid, 0, 0)

    def _stopped(self, pid: int, number: int, event: int) -> None:
        """One thread stands still: see why, and let it go on."""
        deliver = 0
        if number == signal.SIGTRAP | 0x80:
            if not self._syscall(pid):
                return
        elif event == _EVENT_STOP and number in _GROUP_STOPS:
            _ptrace(_LISTEN, pid, 0, 0)
            return
        elif event == _EVENT_EXEC and pid != self.command and _is_inside(pid):
            _ptrace(_DETACH, pid, 0, 0)  # it is the container's own from now on
            return
        elif not event:
            deliver = number
        done = self.fired and self.to_fail != pid
        _ptrace(_CONT if done else _SYSCALL, pid, 0, deliver)

    def _syscall(self, pid: int) -> bool:
        """At the beginning or the end of a call; false when the process has been killed."""
        if self.fired and self.to_fail != pid:
            return True
        info = _SyscallInfo()
        if not _ptrace(_GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info)):
            return False
        if info.op != _ENTRY:
            if self.to_fail == pid:
                self.to_fail = 0
                _return(pid, -self.errno)
            return True
        name = self.watched.get(info.number)
        if name is None:
            return True
        role = self._roles.get(pid) or self._role_of(pid)
        if info.number not in self._renaming:
            self._roles[pid] = role
        else:
            self._roles.pop(pid, None)
        counted = self.counts[role]
        counted[name] += 1
        if info.number != self.call or role != self.role or counted[name] != self.number:
            return True
        self.fired = f"{name}({_shown(pid, info.arguments)}) of {role} {_comm(pid)}"
        if self.errno:
            self.to_fail = pid
            _skip(pid)
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # of a thread: it is the whole process
        return False

    def _role_of(self, pid: int) -> str:
        group, inside = _status(pid)
        if group == self.command:
            return "command"
        if inside:
            return "inside"
        name = _comm(pid)
        if name in ("pc-keeper", "pc-build"):
            return "keeper"
        if name.startswith("pc-"):
            return "netd" if name == "pc-netd" else "monitor"
        return "other"


def _skip(pid: int) -> None:
    """Let a call that is about to begin be none."""
    if MACHINE == "x86_64":
        _ptrace(_POKEUSER, pid, _ORIG_RAX, -1)
    else:
        nothing = ctypes.c_int(-1)
        registers = _Registers(ctypes.addressof(nothing), ctypes.sizeof(nothing))
        _ptrace(_SETREGSET, pid, _NT_ARM_SYSTEM_CALL, ctypes.addressof(registers))


def _return(pid: int, value: int) -> None:
    """Let a call that has just ended have returned `value`."""
    if MACHINE == "x86_64":
        _ptrace(_POKEUSER, pid, _RAX, value)
    else:
        words = (ctypes.c_int64 * 34)()  # x0 to x30, sp, pc, pstate
        registers = _Registers(ctypes.addressof(words), ctypes.sizeof(words))
        _ptrace(_GETREGSET, pid, _NT_PRSTATUS, ctypes.addressof(registers))
        words[0] = value
        _ptrace(_SETREGSET, pid, _NT_PRSTATUS, ctypes.addressof(registers))


def _status(pid: int) -> tuple[int, bool]:
    """The process of a thread, and whether it is in another pid namespace than we are."""
    group, inside = pid, False
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", errors="replace") as file:
        for line in file:
            if line.startswith("Tgid:"):
                group = int(line.split()[1])
            elif line.startswith("NSpid:"):
                inside = len(line.split()) > 2
                break
    return group, inside


def _is_inside(pid: int) -> bool:
    return _status(pid)[1]


def _comm(pid: int) -> str:
    """What a thread's process is called."""
    with contextlib.suppress(OSError), open(f"/proc/{_status(pid)[0]}/comm", errors="replace") as file:
        return file.read().strip()
    return "?"


def _shown(pid: int, arguments: Sequence[int]) -> str:
    """The first of the arguments that is a path, for a person; otherwise numbers."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for argument in arguments[:2]:
            with contextlib.suppress(OSError, OverflowError, ValueError):
                memory.seek(argument)
                text = memory.read(_TEXT).split(b"\0")[0]
                if b"/" in text and text.isascii():
                    return repr(text.decode())
    return ", ".join(f"{argument:#x}" for argument in arguments[:3])


def main() -> None:
    wanted = json.loads(sys.argv[1])
    report = os.open(wanted["report"], os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    tracer = Tracer(wanted)
    status = tracer.run(sys.argv[2:], wanted["attached"])
    with os.fdopen(report, "w") as file:
        json.dump({"status": status, "fired": tracer.fired, "counts": tracer.counts}, file)


def read_report(path: str) -> Report:
    """What the tracer that has ended has found out."""
    with open(path, encoding="utf-8") as file:
        return Report(**json.load(file))


if __name__ == "__main__":
    main()
