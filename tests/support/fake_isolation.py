"""A stand-in for `supervision.isolation`: processes without namespaces, control groups or privileges.

A container's processes are those that carry its id in their environment, which forks inherit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from compose.errors import ContainerError
from compose.linux.process import pidfd_open
from compose.linux.signals import default_all

if TYPE_CHECKING:
    from compose.runtime.container.birth import Birth
    from compose.runtime.spec import ContainerSpec, Process

MARK = "PYCOMPOSE_FAKE_CONTAINER"


class Stdio:
    """As in `compose.runtime.container.child`."""

    def __init__(self, stdin: int, stdout: int, stderr: int) -> None:
        self.descriptors = (stdin, stdout, stderr)


class Launched:
    """As in `compose.runtime.container.child`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pidfd = pidfd_open(pid)
        self.master: int | None = None
        self.warnings: list[str] = []


class Cgroup:
    """As in `compose.runtime.cgroups`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.unavailable: list[str] = []
        self.fresh = False

    def pids(self) -> list[int]:
        mark = f"{MARK}={self.name}".encode()
        found = []
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if entry.isdigit() and mark in file.read().split(b"\0"):
                        found.append(int(entry))
            except OSError:
                continue
        return found

    def kill(self) -> None:
        for pid in self.pids():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue

    def freeze(self, *, frozen: bool) -> None:
        for pid in self.pids():
            os.kill(pid, 19 if frozen else 18)

    def oom_kills(self) -> int:
        return 0

    def open_oom_events(self) -> tuple[int, bool]:
        return -1, False

    def remove(self) -> None:
        if self.pids():
            raise OSError(16, "processes are left")


def prepare(project: str) -> tuple[str, list[str]]:
    return "", []


def create(base: str, name: str, resources: dict[str, Any] | None = None) -> Cgroup:
    return Cgroup(name)


def find(base: str, name: str) -> Cgroup:
    return Cgroup(name)


def remove_base(base: str) -> None:
    """There is none."""


class Regular:
    """As in `compose.runtime.container.nursery`, where there is no nurse."""

    def __init__(self, process: Process, seccomp: str, cgroup: Cgroup) -> None:
        """Nothing is known beforehand."""

    def look(self, pid: int, pidfd: int) -> None:
        raise PermissionError


def launch(
    spec: ContainerSpec, stdio: Stdio, cgroup: Cgroup, joined: dict[str, int], files: dict[int, list[int]]
) -> Launched:
    return _execute(spec["oci"]["process"], stdio, cgroup)


def enter(
    pid: int, process: Process, stdio: Stdio, *, pidfd: int, cgroup: Cgroup, seccomp: str, birth: Birth
) -> Launched:
    return _execute(process, stdio, cgroup)


def _execute(process: Process, stdio: Stdio, cgroup: Cgroup) -> Launched:
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            default_all()
            for number, descriptor in enumerate([os.dup(each) for each in stdio.descriptors]):
                os.dup2(descriptor, number)
            environment = {"PATH": "/usr/bin:/bin", MARK: cgroup.name}
            os.execvpe(process["args"][0], process["args"], environment)
        except OSError as error:
            os.write(write, f"exec {process['args'][0]}: {error.strerror}".encode())
        finally:
            os._exit(127)
    os.close(write)
    with open(read, "rb") as report:
        failure = report.read()
    if failure:
        os.waitpid(pid, 0)
        raise ContainerError(failure.decode())
    return Launched(pid)
