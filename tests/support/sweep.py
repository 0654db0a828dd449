"""Faults at chosen system calls: strace ends a command at the Nth call of a kind, or lets that call fail.

Every process of the command counts for itself: its threads, the network set-up, keeper, monitors, a build's
private keeper, and the container's own programs. After each fault

    ps          says the truth: what it calls running has processes, and nothing else has
    up -d       converges: exit code 0, everything runs
    down -v     leaves nothing, in the index, on disk or in the kernel
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

from compose.runtime import cgroups
from compose.state.index import Index
from tests.support.patience import COMMAND

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from tests.support.command import Stack

COMPOSE = """
services:
  web:
    build: .
    command: [sleep, infinity]
    depends_on: [db]
    networks: [front, back]
  db:
    image: IMAGE
    command: [sleep, infinity]
    volumes: [data:/data]
    networks: [back]
networks: {front: {}, back: {}}
volumes: {data: {}}
"""
DOCKERFILE = "FROM IMAGE\nRUN echo built > /built\n"

COMMANDS: dict[str, tuple[str, ...]] = {
    "up": ("up", "-d"),
    "down": ("down", "-t", "0", "--volumes"),
    "run": ("run", "--rm", "-T", "db", "true"),
    "build": ("build", "--no-cache"),
}
CALLS = (
    *("openat", "openat2", "mkdir", "rename", "unlink", "unlinkat", "rmdir", "symlink", "link", "ftruncate"),
    *("fsync", "fdatasync", "syncfs", "write", "pwrite64", "flock", "fcntl", "chmod", "fchownat", "chdir"),
    *("mount", "umount2", "open_tree", "move_mount", "mount_setattr", "fsmount", "pivot_root"),
    *("unshare", "setns", "clone", "clone3", "vfork", "execve", "wait4", "waitid", "pidfd_open"),
    *("socket", "bind", "listen", "connect", "sendto", "sendmsg", "recvmsg", "accept4", "socketpair"),
    *("epoll_wait", "poll", "prctl", "capset", "seccomp", "setresuid", "close_range", "memfd_create"),
)
ERRORS = ("ENOSPC", "EIO", "EPERM", "EMFILE", "ENOMEM")
PATIENCE = COMMAND


class Point(NamedTuple):
    """One fault: the `number`-th `call` of a process ends it, or fails with `error`."""

    command: str
    call: str
    number: int
    error: str = ""

    def injection(self) -> str:
        """As strace has it."""
        what = f"error={self.error}" if self.error else "signal=KILL"
        return f"inject={self.call}:{what}:when={self.number}"

    def __str__(self) -> str:
        return f"{self.command}: {self.injection()}"


def prepare(stack: Stack) -> None:
    """Write the project of the sweep."""
    stack.write(COMPOSE)
    stack.write(DOCKERFILE, "Dockerfile")


@contextlib.contextmanager
def traced(stack: Stack, arguments: Sequence[str], *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command below strace, which lets go of everything as soon as the command itself has ended."""
    strace = shutil.which("strace")
    assert strace is not None, "apt-get install strace"
    # -D: the tracer is the grandchild, so that the command is our own child.
    prefix = [strace, "-D", "-I", "2", "-f", "-qq", *options]
    process = stack.start(*arguments, prefix=prefix, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    tracer = 0
    try:
        while process.poll() is None and not tracer:
            tracer = _tracer_of(process.pid)
            time.sleep(0.001)
        yield process
    finally:
        process.kill()
        process.wait()
        if tracer:
            _end(tracer)


def _end(tracer: int) -> None:
    """Let strace go, and wait until it has: it would still make faults in processes that live on."""
    with contextlib.suppress(ProcessLookupError):
        pidfd = os.pidfd_open(tracer)
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        select.select([pidfd], [], [])
        os.close(pidfd)


def _tracer_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("TracerPid:"))
    except (OSError, StopIteration):
        return 0


def counts(stack: Stack, command: str, log: str) -> dict[str, int]:
    """How often one process makes each call, at most, while a command works as it should."""
    before(stack, command)
    with traced(stack, COMMANDS[command], "-o", log, "-e", f"trace={','.join(CALLS)}") as process:
        assert process.wait(PATIENCE) == 0
    clear(stack)
    most: collections.Counter[str] = collections.Counter()
    by_process: collections.Counter[tuple[str, str]] = collections.Counter()
    with open(log, encoding="utf-8", errors="replace") as file:
        for line in file:
            found = re.match(r"(\d+) +(\w+)\(", line)
            if found:
                by_process[found.group(1), found.group(2)] += 1
    for (_process, call), number in by_process.items():
        most[call] = max(most[call], number)
    return dict(most)


def choose(command: str, most: dict[str, int], generator: random.Random, *, errors: bool) -> Point:
    """A random point: each call is as likely as any other, and so is each of its numbers."""
    # An event loop is woken by a sendto whose failure asyncio passes over: on a machine it does not fail.
    call = generator.choice(sorted(set(most) - {"sendto"} if errors else most))
    error = generator.choice(ERRORS) if errors else ""
    return Point(command, call, generator.randint(1, most[call]), error)


def before(stack: Stack, command: str) -> None:
    """What has to be there before the command."""
    if command in ("down", "run"):
        stack.up()


def inject(stack: Stack, point: Point) -> None:
    """Make one fault and look at everything; an AssertionError names what is wrong."""
    before(stack, point.command)
    options = ("-o", "/dev/null", "-e", f"trace={point.call}", "-e", point.injection())
    with traced(stack, COMMANDS[point.command], *options) as process:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{point}: the command hangs") from None
    try:
        be_truthful(stack)
        done = stack.try_run("up", "-d", "-t", "0")
        assert done.code == 0, f"up: {done}"
        states = {name: one["State"] for name, one in stack.ps("--all").items()}
        assert set(states.values()) == {"running"}, f"after up: {states}"
        said = stack.shell("web", "cat /built; nslookup db >/dev/null && echo found")
        assert said == "built\nfound", f"inside: {said!r}"
        clear(stack)
    except AssertionError as error:
        raise AssertionError(f"{point}: {error}") from None


def be_truthful(stack: Stack) -> None:
    """What ``ps`` calls running has processes, and nothing else has."""
    for name, one in stack.ps("--all", "--no-trunc").items():
        lives = _lives(stack, one["ID"])
        if lives != (one["State"] in ("running", "paused")):  # it may have ended, or begun, meanwhile
            again = stack.ps("--all").get(name, one)
            lives = _lives(stack, one["ID"])
            assert lives == (again["State"] in ("running", "paused")), f"ps says {again}, processes: {lives}"


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
    for path in (stack.paths.project_run(stack.name), stack.paths.project_namespace(stack.name)):
        assert not os.path.exists(path), f"{path} is left"
    assert not cgroups.find("pycompose", stack.name).pids(), "processes are left"
