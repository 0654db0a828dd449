"""Faults at chosen system calls of the command, of its helpers, and of what enters a container (faults.py).

First a command is counted as it works: which role makes which call how often. A point is one of these calls:
the Nth of its kind that this role makes is the end of the process, or fails with an error that it may have.
A point that did not come, since processes never run in quite the same way twice, counts as not tried.

After each fault

    the command   ends, without a traceback; where it says that it succeeded, it did
    ps            says the truth: what it calls running has processes, and nothing else has
    up -d         converges: exit code 0, everything runs, what was in the volume still is; or at once
    down -v       leaves nothing, in the index, on disk or in the kernel
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from compose.runtime import cgroups
from compose.runtime.records import read
from compose.state.index import Index
from tests.support import faults, processes
from tests.support.patience import COMMAND

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from tests.support.command import Stack

COMPOSE = """
services:
  web:
    build: .
    command: [sleep, infinity]
    restart: unless-stopped
    depends_on: [db]
    networks: [front, back]
    ports: ["127.0.0.1::80"]
  db:
    image: IMAGE
    command: [sleep, infinity]
    volumes: [data:/data]
    networks: [back]
    healthcheck: {test: "true", interval: 50ms}
networks: {front: {}, back: {}}
volumes: {data: {}}
"""
DOCKERFILE = "FROM IMAGE\nRUN echo built > /built\n"
_KEPT = "kept"


class Scenario(NamedTuple):
    """A command, what comes before it, and what is so when it has succeeded."""

    arguments: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    states: frozenset[str] | None = None
    """Those of all containers afterwards; None: it does not say."""
    keeps_data: bool = True


_UP = ("up", "-d", "-t", "0")
_RUNNING = frozenset({"running"})
_EXITED = frozenset({"exited"})

SCENARIOS = {
    "up": Scenario(_UP, (), _RUNNING),
    "recreate": Scenario((*_UP, "--force-recreate"), (_UP,), _RUNNING),
    "scale-up": Scenario((*_UP, "--scale", "web=3"), (_UP,), _RUNNING),
    "scale-down": Scenario(_UP, ((*_UP, "--scale", "web=3"),), _RUNNING),
    "create": Scenario(("create",), (), frozenset({"created"})),
    "down": Scenario(("down", "-t", "0"), (_UP,), frozenset()),
    "down-volumes": Scenario(("down", "-t", "0", "--volumes"), (_UP,), frozenset(), keeps_data=False),
    "run": Scenario(("run", "--rm", "-T", "db", "true"), (_UP,), _RUNNING),
    "run-first": Scenario(("run", "--rm", "-T", "web", "true")),
    "exec": Scenario(("exec", "-T", "db", "true"), (_UP,), _RUNNING),
    "build": Scenario(("build", "--no-cache")),
    "stop": Scenario(("stop", "-t", "0"), (_UP,), _EXITED),
    "start": Scenario(("start",), (_UP, ("stop", "-t", "0")), _RUNNING),
    "restart": Scenario(("restart", "-t", "0"), (_UP,), _RUNNING),
    "rm": Scenario(("rm", "--stop", "--force", "--volumes"), (_UP,), frozenset()),
    "kill": Scenario(("kill",), (_UP,)),
    "pause": Scenario(("pause",), (_UP,), frozenset({"paused"})),
    "unpause": Scenario(("unpause",), (_UP, ("pause",)), _RUNNING),
    "cp": Scenario(("cp", "compose.yaml", "db:/copy"), (_UP,), _RUNNING),
    "cp-out": Scenario(("cp", "web:/built", "copy"), (_UP,), _RUNNING),
    "commit": Scenario(("commit", "db", "pycompose-test/committed"), (_UP,), _RUNNING),
    "boot-stop": Scenario(("boot", "stop"), (_UP,)),
    "boot-start": Scenario(("boot", "start"), (_UP, ("boot", "stop"))),
    "ps": Scenario(("ps",), (_UP,), _RUNNING),
}

_FEW = ("EMFILE", "ENOMEM")
_DISK = ("ENOSPC", "EIO")
_SENT = ("ENOBUFS", "ENOMEM")
_BORN = ("EAGAIN", "ENOMEM")
_WAITS = ("EINTR",)

ERRORS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("openat", "openat2"), ("EMFILE", "ENFILE", "ENOMEM", "EIO")),
    **dict.fromkeys(("mkdir", "mkdirat", "rename", "renameat2", "symlink", "link", "linkat"), _DISK),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir", "chmod", "fchmod"), ("EIO",)),
    **dict.fromkeys(("fchownat", "fchown", "chown"), ("EIO",)),
    **dict.fromkeys(("ftruncate", "fallocate", "fsync", "fdatasync", "syncfs"), _DISK),
    **dict.fromkeys(("fsetxattr", "setxattr"), _DISK),
    **dict.fromkeys(("write", "pwrite64", "splice", "copy_file_range"), (*_DISK, "EINTR")),
    **dict.fromkeys(("read", "pread64", "getdents64"), ("EIO",)),
    "flock": ("ENOLCK", "EINTR"),
    **dict.fromkeys(("dup", "dup2", "dup3"), ("EMFILE",)),
    **dict.fromkeys(("mount", "move_mount", "mount_setattr", "fsconfig", "pivot_root"), ("ENOMEM",)),
    **dict.fromkeys(("open_tree", "fsopen", "fsmount"), _FEW),
    "umount2": ("EBUSY",),
    **dict.fromkeys(("clone", "clone3", "vfork", "fork"), _BORN),
    "execve": ("ENOMEM",),
    **dict.fromkeys(("unshare", "setns"), ("ENOMEM", "ENOSPC")),
    **dict.fromkeys(("socket", "socketpair", "pipe2", "epoll_create1", "eventfd2"), _FEW),
    **dict.fromkeys(("inotify_init1", "memfd_create", "pidfd_open", "timerfd_create"), _FEW),
    "inotify_add_watch": ("ENOSPC", "ENOMEM"),
    **dict.fromkeys(("bind", "listen"), ("ENOMEM",)),
    "connect": ("ENOMEM", "EAGAIN"),
    **dict.fromkeys(("sendto", "sendmsg"), _SENT),
    **dict.fromkeys(("recvmsg", "recvfrom"), ("ENOMEM", "EINTR")),
    "accept4": (*_FEW, "ECONNABORTED"),
    **dict.fromkeys(("wait4", "waitid", "epoll_wait", "poll", "ppoll"), _WAITS),
    "epoll_ctl": ("ENOMEM", "ENOSPC"),
    "pidfd_send_signal": ("ENOMEM",),
    "seccomp": ("ENOMEM",),
    "prctl": ("EPERM",),
    "capset": ("EPERM",),
    "setresuid": ("EAGAIN",),
    "close_range": ("ENOMEM",),
    **dict.fromkeys(("fcntl", "ioctl"), ()),
}
"""The calls at which processes are killed, and the errors that each may have."""

PATIENCE = COMMAND
_OF_PYTHON = (".py'", ".pyc'", ".so'", "python", "/etc/ld.so", ".cfg'", ".pth'")
"""What the interpreter itself reads: its own errors are not ours to tell."""


class Point(NamedTuple):
    """One fault: the `number`-th `call` of a role ends the process, or fails with `error`."""

    scenario: str
    role: str
    call: str
    number: int
    error: str = ""

    def __str__(self) -> str:
        what = self.error or "SIGKILL"
        return f"{self.scenario}: {what} at {self.call} {self.number} of {self.role}"


Counts = dict[str, dict[str, int]]


def prepare(stack: Stack) -> None:
    """Write the project of the sweep, and build its image."""
    stack.write(COMPOSE)
    stack.write(DOCKERFILE, "Dockerfile")
    stack.run("build")


def counts(stack: Stack, scenario: str) -> Counts:
    """How often each role makes each call while a command works as it should."""
    before(stack, scenario)
    report, said = trace(stack, Point(scenario, "", "", 0))
    assert report.status == 0, f"{scenario}: {said}"
    clear(stack)
    return {role: dict(found) for role, found in report.counts.items()}


def choose(scenario: str, found: Counts, generator: random.Random, *, errors: bool) -> Point:
    """A random point: each role is as likely as any other, so is each of its calls, and each number of it."""
    role = generator.choice(sorted(found))
    # An event loop is woken by a socket of its own whose failure asyncio passes over, or prints: on a machine
    # that one does not fail.
    woken = {"sendto", "recvfrom"} if errors and role == "command" else set()
    calls = {call for call in found[role] if ERRORS[call] or not errors} - woken
    call = generator.choice(sorted(calls))
    error = generator.choice(ERRORS[call]) if errors else ""
    return Point(scenario, role, call, generator.randint(1, found[role][call]), error)


def before(stack: Stack, scenario: str) -> None:
    """What has to be there before the command."""
    for arguments in SCENARIOS[scenario].before:
        stack.run(*arguments)
    path = _kept(stack)
    if SCENARIOS[scenario].before:
        with open(path, "w") as file:
            file.write(_KEPT)


def _kept(stack: Stack) -> str:
    return f"{stack.paths.volumes}/{stack.name}_data/data/file"


def trace(stack: Stack, point: Point, patience: float = PATIENCE) -> tuple[faults.Report, str]:
    """Run the command with one fault; what its tracer and itself have said."""
    path = f"{stack.directory}/report"
    wanted = point._asdict() | {"watched": sorted(ERRORS), "report": path, "attached": helpers(stack)}
    prefix = [sys.executable, "-I", faults.__file__, json.dumps(wanted)]
    arguments = SCENARIOS[point.scenario].arguments
    with stack.start(*arguments, prefix=prefix, stderr=subprocess.STDOUT) as process:
        try:
            said, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            there = "\n".join(_with_its_place(one.pid, text) for one, text in processes.descendants().items())
            children = _children(process.pid)
            for pid in (process.pid, *children):
                os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"{point}: the command hangs\n{there}") from None
    assert process.returncode == 0, f"the tracer of {point}: {said}"
    report = faults.read_report(path)
    os.unlink(path)
    return report, said


def helpers(stack: Stack) -> list[int]:
    """Keeper, netd and monitors that are there now."""
    try:
        keeper = int(read(f"{stack.paths.project_run(stack.name)}/keeper.json")["pid"])
    except Exception:  # noqa: BLE001 - there is none, and no record that can be read
        return []
    return [keeper, *(pid for pid in _children(keeper) if _is_helper(pid))]


def _children(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(number) for number in file.read().split()]
    except OSError:
        return []


def _is_helper(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().startswith("pc-")
    except OSError:
        return False


def _with_its_place(pid: int, text: str) -> str:
    found = []
    for name in ("comm", "wchan", "syscall"):
        try:
            with open(f"/proc/{pid}/{name}", errors="replace") as file:
                found.append(file.read().strip())
        except OSError:
            found.append("?")
    return f"{text}: {', '.join(found)}"


class Outcome(NamedTuple):
    """What a fault came to, when everything was as it should be afterwards."""

    fired: str
    """What it hit; empty when it did not come."""
    complaint: str
    """The last line that a helper has left which could not go on."""


def inject(stack: Stack, point: Point, *, mend: bool = True) -> Outcome:
    """Make one fault and look at everything; `mend` by ``up`` first, else by ``down`` alone.

    Raises `AssertionError`, which names what is wrong.
    """
    scenario = SCENARIOS[point.scenario]
    before(stack, point.scenario)
    fired = complained = ""
    try:
        report, said = trace(stack, point)
        fired = report.fired
        complained = complaints(stack)
        _be_clear(fired, said)
        states = truth(stack)
        # Process 1 that is killed before it has executed its program has ended, like any other.
        died_inside = point.role == "inside" and not point.error
        if report.status == 0 and scenario.states is not None and not died_inside:
            assert set(states.values()) == scenario.states, f"it succeeded: {states}\n{said}"
        if scenario.before and scenario.keeps_data:
            with open(_kept(stack)) as file:
                assert file.read() == _KEPT, "the volume's data are lost"
        if mend:
            be_mended(stack, states)
        clear(stack)
    except (AssertionError, OSError) as error:
        raise AssertionError(f"{point} [{fired}]: {error}\n{complained}") from None
    return Outcome(fired, complained.strip().rpartition("\n")[2])


def _be_clear(fired: str, said: str) -> None:
    """No traceback, but those of an interpreter that could not load its own modules."""
    if not any(part in fired for part in _OF_PYTHON) and "Fatal Python error" not in said:
        assert "Traceback" not in said, said


def complaints(stack: Stack) -> str:
    """What helpers have written down that could not go on."""
    try:
        with open(f"{stack.paths.project_run(stack.name)}/errors.log") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def be_mended(stack: Stack, states: Mapping[str, str]) -> None:
    """``up`` makes everything whole."""
    if "paused" in states.values():
        stack.try_run("unpause")  # which fails where some are, and others not
    done = stack.try_run(*_UP)
    assert done.code == 0, f"up: {done}"
    found = {name: one["State"] for name, one in stack.ps("--all").items()}
    assert set(found.values()) == {"running"} and len(found) == 2, f"after up: {found}\n{done}"
    said = stack.shell("web", "cat /built; nslookup db >/dev/null && echo found")
    assert said == "built\nfound", f"inside: {said!r}"


def truth(stack: Stack) -> dict[str, str]:
    """The states of all containers: what ``ps`` calls running has processes, and nothing else has."""
    there = stack.ps("--all", "--no-trunc")
    for name, one in there.items():
        lives = _lives(stack, one["ID"])
        if lives != (one["State"] in ("running", "paused")):  # it may have ended, or begun, meanwhile
            again = there[name] = stack.ps("--all").get(name, one)
            lives = _lives(stack, one["ID"])
            assert lives == (again["State"] in ("running", "paused")), f"ps says {again}, processes: {lives}"
    return {name: one["State"] for name, one in there.items()}


def _lives(stack: Stack, identity: str) -> bool:
    """Whether there are processes in a container's group, wherever that lies on this host."""
    return any(cgroups.find(base, identity).pids() for base in cgroups.bases_of(stack.host_name))


def clear(stack: Stack) -> None:
    """Take the project down, and see that nothing is left of it."""
    done = stack.try_run("down", "-t", "0", "--volumes")
    assert done.code == 0, f"down: {done}"
    index = Index(stack.paths)
    try:
        assert not index.containers(stack.name), "containers are left"
        assert not index.networks(stack.name), "networks are left"
        assert index.project(stack.name) is None, "the project is left"
    finally:
        index.close()
    places = [stack.paths.project_run(stack.name), stack.paths.project_namespace(stack.name)]
    places += [f"{stack.paths.volumes}/{stack.name}_data"]
    for path in places:
        assert not os.path.exists(path), f"{path} is left"
    if os.path.isdir(stack.paths.containers):  # it is made with the first one
        assert not os.listdir(stack.paths.containers), "directories of containers are left"
    assert not cgroups.find("pycompose", stack.name).pids(), "processes are left"
